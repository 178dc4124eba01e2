// How to ask the same without the page: a command for curl and a program in Python, to be copied.

import { address } from "./api.js";
import { byId } from "./dom.js";

// `name`: of a file; `sample`: the address of it, if the server has it. The name is quoted for curl, which would split
// it at commas, and then for the shell.
export function showCode({ name, sample }, query, keysNeeded) {
  const url = new URL(address("predict", query), location.href).href;
  const image = `'image=@${JSON.stringify(name).replaceAll("'", "'\\''")}'`;
  const header = keysNeeded ? "-H 'X-API-Key: KEY' " : "";
  const send = `curl ${header}-F ${image} ${url.includes("?") ? `'${url}'` : url}`;
  byId("curl").textContent = [sample && `curl -O ${sample}`, send].filter(Boolean).join("\n");
  const headers = keysNeeded ? ', headers={"X-API-Key": "KEY"}' : "";
  const post = `reply = requests.post(${JSON.stringify(url)}, files={"image": image}${headers})`;
  byId("python").textContent = [
    "import requests",
    "",
    ...(sample
      ? [`image = requests.get(${JSON.stringify(sample)}).content`, post]
      : [`with open(${JSON.stringify(name)}, "rb") as image:`, `    ${post}`]),
    'print(reply.json()["predictions"][0]["label"])',
  ].join("\n");
}

export async function copy(button) {
  const text = byId(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch { // over plain http, or when the browser was told so, there is no clipboard
    getSelection().selectAllChildren(byId(button.dataset.copy));
    button.textContent = "Selected: press Ctrl+C";
  }
}
