"""Ray Serve out of the box with torch, as Ray's own image classification tutorials do it: one
deployment that takes the request, decodes and predicts."""

from ray import serve
from starlette.requests import Request

from benchmarks.peers import VERSION, answer
from models import classifier
from models.preprocess import to_pixels


@serve.deployment
class Animals:
    def __init__(self) -> None:
        self.model = classifier.load(VERSION, backend="torch")

    async def __call__(self, request: Request) -> dict[str, object]:
        pixels = to_pixels(await request.body(), self.model.card.input.side)
        return answer(self.model.card.labels, self.model.probabilities(pixels[None])[0])


app = Animals.bind()  # type: ignore[attr-defined]
