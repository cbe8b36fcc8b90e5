// The view "Events": what happened to accounts, and who did it, live.

import { h, labelled, select } from "./dom.js";
import { eventTable, nameKind } from "./event-table.js";
import { chosen, filterForm } from "./filters.js";
import { showView } from "./frame.js";
import { KINDS } from "./kinds.js";
import { poll, quietly } from "./poll.js";
import { count } from "./words.js";

const SECONDS = 5;

export function showEvents({ app, query, signal }) {
  const parameters = chosen(query, ["kind", "user"]);
  const list = eventTable({ app, signal, parameters, label: "Events, the newest first" });
  const kinds = Object.entries(KINDS).map(([kind, words]) => [kind, `${words} (${kind})`]);
  const kind = select("kind", [["", "any"], ...kinds], parameters.kind);
  const user = h("input", { name: "user", value: parameters.user, maxlength: "36", autocomplete: "off", spellcheck: "false" });
  const form = filterForm("events", [labelled("Kind", kind), labelled("Id of the account", user)]);
  const live = h("input", { type: "checkbox", role: "switch", checked: true });
  const news = h("p", { class: "quiet", "aria-live": "polite" });
  showView("Events", form, h("p", { class: "live" }, h("label", {}, live, " Show new events as they come")), news, list.element);
  app.attempt(async () => {
    await list.load();
    follow(app, list, { live, news, signal });
  });
}

// Look for new events while the switch is on.
function follow(app, list, { live, news, signal }) {
  const look = quietly(app, news, async () => {
    const added = await list.fetchNew();
    if (added.length > 0) news.textContent = announce(added);
  });
  let pause = null;

  function start() {
    pause = new AbortController();
    news.textContent = "";
    poll({ seconds: SECONDS, signal: AbortSignal.any([signal, pause.signal]), work: look });
  }

  live.addEventListener("change", () => {
    if (live.checked) start();
    else pause.abort();
  });
  start();
}

function announce(events) {
  const kinds = new Set(events.map((event) => nameKind(event.kind)));
  return `${count(events.length, "new event")}: ${[...kinds].join(", ")}.`;
}
