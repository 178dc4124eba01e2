// The one place that talks to the service; what goes wrong leaves as an Error whose message is a sentence.

let key = "";
let model = ""; // that is asked, empty for the default one

export function setKey(value) {
  key = value.trim();
}

export function setModel(name) {
  model = name;
}

// The address of a path that is about one model.
export function address(path, query = {}) {
  const text = new URLSearchParams(model ? { model, ...query } : query).toString();
  return text ? `${path}?${text}` : path;
}

export async function get(path) {
  return read(await send(path, { headers: { Accept: "application/json" } }));
}

// Ask for a prediction: `body` is a FormData with a file, or raw pixels; `query` such as {pixels: 1}.
export async function predict(body, query = {}) {
  const headers = key ? { "X-API-Key": key } : {};
  if (!(body instanceof FormData)) headers["Content-Type"] = "application/octet-stream";
  return read(await send(address("predict", query), { method: "POST", headers, body }));
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
  if (response.status === 401) throw new Error("The server needs an API key, or does not accept this one: type a key above.");
  throw new Error(content.detail ?? content.error ?? `The server answered with status ${response.status}.`);
}
