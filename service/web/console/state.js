// The view "State": whether the service is well, at a glance.

import { badge, facts, h, showTime } from "./dom.js";
import { showView } from "./frame.js";
import { poll, quietly } from "./poll.js";

const SECONDS = 10;

export function showState({ app, signal }) {
  const summary = h("p", { role: "status" }, "Loading …");
  const cards = h("div", { class: "cards" });
  showView("State", summary, cards);
  // What the service was is not what it is: a failure takes the place of the summary.
  const work = quietly(app, summary, async () => {
    const status = await app.api.get("/admin/status", { signal });
    // Spoken by screen readers when it changes, and not each time.
    const words = status.ready ? "The service is ready." : "The service is not ready.";
    if (summary.textContent !== words) summary.replaceChildren(badge(words, status.ready ? "good large" : "bad large"));
    cards.replaceChildren(...cardsOf(status));
  });
  poll({ seconds: SECONDS, signal, work });
}

function cardsOf(status) {
  const { pool, jobs, schema } = status;
  return [
    card("Checks", status.checks.map(({ name, ok, problem }) => [name, ok ? badge("well", "good") : badge(problem ?? "not well", "bad")])),
    card("Versions", [
      ["Service", status.version],
      ["Python", status.python],
      ["PostgreSQL", status.postgres ?? "not known"],
      ["Schema of the code", schema.code],
      ["Schema of the database", schema.database ?? "none"],
      ["This process since", showTime(status.started_at)],
    ]),
    card("This process", [
      ["Connections in use", `${pool.in_use} of ${pool.size}`],
      ["Requests that wait for one", warnAbove(pool.waiting)],
      ["Passwords to hash", String(status.hashing.pending)],
      ["Open streams", String(status.streams.open)],
    ]),
    card("Jobs", jobs ? jobFacts(jobs) : [["Counts", badge("not known: the queue is silent", "warn")]]),
    ...(status.replica ? [card("Replica", [["Behind the primary", lag(status.replica.lag_seconds)]])] : []),
  ];
}

function jobFacts({ queued, picked, failed }) {
  return [
    ["Waiting", String(queued)],
    ["In a worker's hands", String(picked)],
    ["Failed for good", failed > 0 ? h("a", { href: "#/jobs?state=failed" }, String(failed)) : "0"],
  ];
}

function lag(seconds) {
  return seconds === null ? badge("not known, so it is not read", "warn") : `${seconds.toFixed(1)} seconds`;
}

function card(title, pairs) {
  return h("section", { class: "card" }, h("h2", {}, title), facts(pairs));
}

function warnAbove(number) {
  return number > 0 ? badge(String(number), "warn") : "0";
}
