// The view "Jobs": what failed, for good or to be tried again, with the reason.

import { badge, h, labelled, select, showTime } from "./dom.js";
import { chosen, filterForm } from "./filters.js";
import { showView } from "./frame.js";
import { CursorTable } from "./table.js";
import { count } from "./words.js";

const STATES = [["", "any"], ["failed", "failed for good"], ["retried", "tried again"]];

export function showJobs({ app, query, signal }) {
  const parameters = chosen(query, ["state"]);
  const list = new CursorTable({
    app,
    signal,
    path: "/admin/jobs",
    member: "jobs",
    noun: "job",
    parameters,
    label: "Jobs that failed, the latest first",
    columns: ["Job", "State", "Since", "Attempts", "Next try", "Reason", "Action"],
    cells: (job) => jobCells(app, job, list),
  });
  const state = select("state", STATES, parameters.state);
  const all = h("button", { type: "button" }, "Retry all");
  all.addEventListener("click", () => app.attempt(() => retryAll(app, list), all));
  showView("Jobs", filterForm("jobs", [labelled("State", state)]), h("p", {}, all), list.element);
  app.attempt(() => list.load());
}

function jobCells(app, job, list) {
  const button = h("button", { type: "button", "aria-label": `Retry ${job.kind} ${job.id}` }, "Retry");
  button.addEventListener("click", () => app.attempt(() => retry(app, job, list), button));
  return [
    `${job.kind} ${job.id}`,
    job.state === "failed" ? badge("failed for good", "bad") : badge("tried again", "warn"),
    showTime(job.since),
    String(job.attempts),
    job.next_try ? showTime(job.next_try) : "–",
    job.reason ? h("span", { class: "long reason" }, job.reason) : "–",
    button,
  ];
}

async function retry(app, job, list) {
  const question = {
    title: `Retry ${job.kind} ${job.id}?`,
    text: ["A worker tries the job again now. What it does may be done a second time, such as a mail that is sent."],
    action: "Retry the job",
  };
  await app.deed(question, "POST", `/admin/jobs/${job.id}/retry`, { done: `${job.kind} ${job.id} is tried again now.` });
  list.drop(job);
}

async function retryAll(app, list) {
  const question = {
    title: "Retry all jobs that failed?",
    text: ["Workers try all of them again now, those that are not shown here, too; of more than 1,000 in a state, the first 1,000. Mails that failed are sent."],
    action: "Retry all jobs",
  };
  const done = ({ retried }) => (retried === 0 ? "There is no job to try again." : `${count(retried, "job")} ${retried === 1 ? "is" : "are"} tried again now.`);
  await app.deed(question, "POST", "/admin/jobs/retry", { done });
  await list.load();
}
