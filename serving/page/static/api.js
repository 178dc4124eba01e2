// The one place that talks to the service; what goes wrong leaves as an Error whose message is a sentence.

let key = "";

export function setKey(value) {
  key = value.trim();
}

export async function get(path) {
  return read(await send(path, { headers: { Accept: "application/json" } }));
}

// Ask for a prediction: `body` is a FormData with a file, or raw pixels; `query` such as {pixels: 1}.
export async function predict(body, query = {}) {
  const headers = key ? { "X-API-Key": key } : {};
  if (!(body instanceof FormData)) headers["Content-Type"] = "application/octet-stream";
  const text = new URLSearchParams(query).toString();
  return read(await send(text ? `predict?${text}` : "predict", { method: "POST", headers, body }));
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The server did not answer. Is it running, and is the network up?");
  }
}

async function read(response) {
  let content;
  try {
    content = await response.json();
  } catch {
    throw new Error(`The server answered with status ${response.status} and no JSON.`);
  }
  if (response.ok) return content;
  if (response.status === 401) throw new Error("The server wants an API key, or another than this one: type it above.");
  throw new Error(content.detail ?? content.error ?? `The server answered with status ${response.status}.`);
}
