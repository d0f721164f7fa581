// The first page: classifies an image that is chosen or dropped.

const find = (id) => document.getElementById(id);
const FACTS = { label: "Label", confidence: "Confidence", version: "Version", reason: "Reason" };

let image = null; // the file to classify

function choose(file) {
  if (!file) return;
  image = file;
  URL.revokeObjectURL(find("preview").src);
  find("preview").src = URL.createObjectURL(file);
  classify();
}

// A header value as UTF-8: `fetch` takes one character per byte.
const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));

function requestHeaders() {
  const headers = { "Content-Type": image.type || "application/octet-stream" };
  const user = find("user").value.trim();
  const region = find("region").value.trim();
  if (user) headers["X-User-Id"] = utf8(user);
  if (region) headers["X-Region"] = utf8(region);
  return headers;
}

async function classify() {
  find("error").textContent = "";
  const sent = image;
  try {
    const response = await fetch("v1/classify", {
      method: "POST",
      headers: requestHeaders(),
      body: sent,
    });
    const content = await response.json();
    if (sent !== image) return; // another image was chosen meanwhile
    if (response.ok) show(content);
    else showError(content.detail);
  } catch (error) {
    showError(`The service does not respond (${error.message}).`);
  }
}

function showError(text) {
  find("answer").hidden = true;
  find("error").textContent = text;
}

function show(prediction) {
  const shown = { ...prediction, confidence: `${(100 * prediction.confidence).toFixed(1)} %` };
  const parts = [];
  for (const [key, name] of Object.entries(FACTS)) {
    if (shown[key] === undefined) continue; // a rule may hide the version
    const term = document.createElement("dt");
    term.textContent = name;
    const value = document.createElement("dd");
    value.textContent = shown[key];
    parts.push(term, value);
  }
  find("result").replaceChildren(...parts);
  find("answer").hidden = false;
}

find("file").addEventListener("change", () => choose(find("file").files[0]));
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (image) classify();
});

for (const type of ["dragenter", "dragover"]) {
  find("drop").addEventListener(type, (event) => {
    event.preventDefault();
    find("drop").classList.add("over");
  });
}
find("drop").addEventListener("dragleave", () => find("drop").classList.remove("over"));
find("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  find("file").required = false; // a dropped file is not in the input
  choose(event.dataTransfer.files[0]);
});
