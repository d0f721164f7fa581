"""Ray Serve out of the box with torch, as in Ray's image classification tutorials: one deployment
receives the request, decodes and predicts."""

from ray import serve
from starlette.requests import Request

from benchmarks.peers import VERSION, format_prediction
from models import classifier
from models.preprocess import to_pixels


@serve.deployment
class Animals:
    def __init__(self) -> None:
        self.model = classifier.load(VERSION, backend="torch")

    async def __call__(self, request: Request) -> dict[str, object]:
        pixels = to_pixels(await request.body(), self.model.card.input.side)
        return format_prediction(self.model.card.labels, self.model.probabilities(pixels[None])[0])


app = Animals.bind()  # type: ignore[attr-defined]
