// The page's frame: which model is served, the two tabs, the key; each tab has its own file.

import { address, get, setKey, setModel } from "./api.js";
import { byId, make } from "./dom.js";
import * as predicting from "./predict.js";

const LOOK_SECONDS = 2;
const TABS = ["predict", "model"];

let described; // what GET /model told of the model on the page

predicting.listen();
byId("key").oninput = (event) => setKey(event.target.value);
byId("chosen").onchange = choose;
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
  history.replaceState(null, "", name === "model" ? "#model" : location.pathname + location.search);
  if (name === "model") showModel();
}

async function look() {
  if (!document.hidden) await refresh();
  setTimeout(look, 1000 * LOOK_SECONDS);
}

// Check whether another version is served; the page keeps working meanwhile, and after the server was unreachable.
async function refresh() {
  try {
    const { models } = await get("models");
    offer(models.map((each) => each.name));
    const { name, version } = models[byId("chosen").selectedIndex] ?? {};
    if (!described || described.model !== name || described.version !== version) await describe();
    say(`Serving ${described.model} version ${described.version} (${described.card.classes.length} classes).`);
  } catch (error) {
    say(error.message);
  }
}

// Let the visitor choose where there are several models; the first of `names` is the default one.
function offer(names) {
  const select = byId("chosen");
  if (String([...select.options].map((each) => each.value)) !== String(names)) {
    const before = select.value || new URLSearchParams(location.search).get("model");
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    if (names.includes(before)) select.value = before;
  }
  byId("choice").hidden = names.length < 2;
  setModel(select.selectedIndex > 0 ? select.value : "");
}

function choose() {
  const { selectedIndex, value } = byId("chosen");
  const query = selectedIndex > 0 ? `?${new URLSearchParams({ model: value })}` : "";
  history.replaceState(null, "", location.pathname + query + location.hash);
  refresh();
}

async function describe() {
  described = await get(address("model"));
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
