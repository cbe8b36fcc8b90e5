// Security events as a table.

import { h, showTime } from "./dom.js";
import { address } from "./filters.js";
import { KINDS } from "./kinds.js";
import { CursorTable } from "./table.js";
import { isolate } from "./words.js";

export function eventTable({ app, signal, parameters, label }) {
  return new CursorTable({
    app,
    signal,
    path: "/admin/events",
    member: "events",
    noun: "event",
    parameters,
    label,
    columns: ["Event", "When", "Account", "By", "From", "Details"],
    cells: (event) => eventCells(app, event),
    prepare: (events) => app.names.lookUp(events, signal),
  });
}

export function nameKind(kind) {
  return KINDS[kind] ?? kind;
}

function eventCells(app, event) {
  return [
    h("span", { title: event.kind }, nameKind(event.kind)),
    showTime(event.created_at),
    account(app, event.user_id),
    account(app, event.actor_id),
    origin(event),
    details(event.detail),
  ];
}

// The address, and on request the program.
function origin({ ip, user_agent: program }) {
  if (!program) return ip ?? "–";
  return h("div", {}, ip ?? "–", h("details", {}, h("summary", {}, "Program"), h("span", { class: "long" }, program)));
}

function account(app, id) {
  return id ? h("a", { class: "long", href: address(`users/${id}`) }, app.names.of(id)) : "–";
}

function details(detail) {
  const texts = Object.entries(detail).map(([name, value]) => {
    if (name === "post_id") return h("a", { href: address(`posts/${value}`) }, "the post");
    return `${name.replaceAll("_", " ")}: ${isolate(plain(value))}`;
  });
  if (texts.length === 0) return "–";
  return h("span", { class: "long" }, texts.flatMap((text, index) => (index ? [", ", text] : [text])));
}

function plain(value) {
  if (Array.isArray(value)) return value.join(" and ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
