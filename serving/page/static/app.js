// The page's frame: which model is served, the two tabs, the key; each tab has its own file.

import { get, setKey } from "./api.js";
import { byId } from "./dom.js";
import * as predicting from "./predict.js";

const LOOK_SECONDS = 2;
const TABS = ["predict", "model"];

let version; // that the page has described
let described;

predicting.listen();
byId("key").oninput = (event) => setKey(event.target.value);
byId("key-form").onsubmit = (event) => event.preventDefault();
for (const name of TABS) {
  byId(`tab-${name}`).onclick = () => select(name);
  byId(`tab-${name}`).onkeydown = (event) => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const other = event.key === "Home" ? TABS[0] : event.key === "End" ? TABS[1] : TABS[1 - TABS.indexOf(name)];
    select(other);
    byId(`tab-${other}`).focus();
  };
}
addEventListener("hashchange", () => select(wanted()));
select(wanted());
look();

function wanted() {
  return location.hash === "#model" ? "model" : "predict";
}

function select(name) {
  for (const each of TABS) {
    byId(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    byId(`tab-${each}`).tabIndex = each === name ? 0 : -1;
    byId(each).hidden = each !== name;
  }
  history.replaceState(null, "", name === "model" ? "#model" : location.pathname);
  if (name === "model") showModel();
}

// See whether another version answers now; the page goes on meanwhile, and after the server was away.
async function look() {
  try {
    if (!document.hidden) {
      const ready = await get("readyz");
      if (ready.version !== version) await describe();
      say(`${described.model} version ${version} answers, with one of ${described.card.classes.length} classes.`);
    }
  } catch (error) {
    say(error.message);
  } finally {
    setTimeout(look, 1000 * LOOK_SECONDS);
  }
}

async function describe() {
  described = await get("model");
  version = described.version;
  byId("key-panel").hidden = !described.keys_needed;
  predicting.describe(described);
  if (!byId("model").hidden) await showModel();
}

async function showModel() {
  if (!described) return;
  const { show } = await import("./model.js");
  await show(described);
}

function say(sentence) {
  // Said again only when it changes: a screen reader would read it every time.
  if (byId("status").textContent !== sentence) byId("status").textContent = sentence;
}
