/* The page at /docs/websocket: it calls the functions and subscribes to the topics of a WebSocketPortal. */

import { connect } from "/portal.js";

const MAX_EVENTS = 100;  // that the page shows of one topic
const find = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search).get("path") ?? "";
const wanted = asked.startsWith("/") ? asked : "/ws";  // "@evil.example/ws" would name another host
let portal = null;

find("address").value = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${wanted}`;
find("connection").addEventListener("submit", (event) => { event.preventDefault(); open(); });
open();

async function open() {
  portal?.close();
  const failure = find("failure");
  failure.hidden = true;
  const onState = (state) => { find("state").textContent = find("state").dataset.state = state; };
  const made = portal = connect(find("address").value, { token: find("token").value || null, onState });
  try {
    const found = await made.call("rpc.discover", {}, { timeout: 10_000 });
    if (made !== portal) return;
    document.title = `${found.info.title}: functions and topics`;
    show("functions", found.methods.filter((one) => !one.name.startsWith("rpc.")).map((one) => functionCard(made, one)));
    show("topics", (found["x-topics"] ?? []).map((one) => topicCard(made, one)));
  } catch (error) {
    if (made !== portal) return;
    failure.textContent = error.message;
    failure.hidden = false;
  }
}

function show(id, cards) {
  find(id).replaceChildren(...cards.length ? cards : [`There are no ${id}.`]);
}

function functionCard(made, { name, summary, description, params, "x-streaming": streaming }) {
  const card = cardOf("function", name, summary ?? description);
  const given = card.querySelector(".params"), result = card.querySelector(".result");
  given.value = pretty(Object.fromEntries((params ?? []).map((one) => [one.name, example(one.schema)])));
  card.querySelector(".call").addEventListener("click", () => attempt(result, async () => {
    const began = performance.now();
    const parameters = JSON.parse(given.value || "{}");
    const value = streaming ? [] : await made.call(name, parameters);
    if (streaming) for await (const item of made.stream(name, parameters)) if (value.push(item) === MAX_EVENTS) break;
    return `${pretty(value)}\n\n${(performance.now() - began).toFixed(1)} ms`;
  }));
  return card;
}

function topicCard(made, { topic, description, item, clients_publish }) {
  const card = cardOf("topic", topic, description);
  const button = card.querySelector(".subscribe"), events = card.querySelector(".events");
  const data = card.querySelector(".data"), result = card.querySelector(".result");
  data.value = pretty(example(item));
  if (!clients_publish) card.querySelectorAll("label, .publish").forEach((one) => one.remove());
  const log = (text, kind = "") => {
    const line = Object.assign(document.createElement("li"), { textContent: text, className: kind });
    events.append(line);
    while (events.children.length > MAX_EVENTS) events.firstChild.remove();
    events.scrollTop = events.scrollHeight;
  };
  let subscription = null;
  const ended = (error) => {
    subscription = null;
    button.textContent = "Subscribe";
    if (error) log(error.message, "gap");
  };
  button.addEventListener("click", () => {
    if (subscription) { subscription.close(); return ended(null); }
    button.textContent = "Stop";
    subscription = made.subscribe(topic, {
      onSnapshot: (state) => log(`snapshot ${JSON.stringify(state)}`),
      onEvent: (event) => log(`${event.offset}  ${JSON.stringify(event.data)}${event.key === null ? "" : `  ${event.key}`}`),
      onGap: (gap) => log(`gap: ${gap.count ?? "unknown number of"} events are missing (${gap.reason})`, "gap"),
      onEnd: ended,
    });
  });
  card.querySelector(".publish").addEventListener("click", () => attempt(result, async () => {
    const at = await made.publish(topic, JSON.parse(data.value));
    return `published at offset ${at.offset}`;
  }));
  return card;
}

function cardOf(kind, name, about) {
  const card = find(kind).content.cloneNode(true).firstElementChild;
  card.dataset.name = name;
  card.querySelector(".name").textContent = name;
  card.querySelector(".about").textContent = about ?? "";
  return card;
}

async function attempt(result, work) {
  result.hidden = false;
  result.classList.remove("bad");
  result.textContent = "…";
  try {
    result.textContent = await work();
  } catch (error) {
    result.classList.add("bad");
    result.textContent = error.message;
  }
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

/** Return a value that a JSON Schema accepts, as a start for the reader. */
function example(schema) {
  if (typeof schema !== "object" || schema === null) return null;
  if ("default" in schema) return schema.default;
  if (schema.examples?.length) return schema.examples[0];
  if ("const" in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  const choice = schema.anyOf?.[0] ?? schema.oneOf?.[0] ?? schema.allOf?.[0];
  if (choice) return example(choice);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object") {
    const names = schema.required ?? Object.keys(schema.properties ?? {});
    return Object.fromEntries(names.map((name) => [name, example(schema.properties?.[name])]));
  }
  return { array: [], string: "", number: 0, integer: 0, boolean: false }[type] ?? null;
}
