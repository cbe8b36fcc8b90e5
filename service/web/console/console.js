// The console: who may see it, and which view the address names.

import { App } from "./app.js";
import { closeDialogs } from "./dialog.js";
import { h } from "./dom.js";
import { showEvents } from "./events.js";
import { complain, markLink, onSignOut, say, showCaller, showView } from "./frame.js";
import { showJobs } from "./jobs.js";
import { showPost } from "./post.js";
import { showPosts } from "./posts.js";
import { recognise } from "./session.js";
import { finishExternally, showRefusal, showSignIn, showTrouble } from "./sign-in.js";
import { showState } from "./state.js";
import { showUser } from "./user.js";
import { showUsers } from "./users.js";
import { explain } from "./words.js";

// The views by the path of the address; {id} is what stands after a name.
const VIEWS = new Map([
  ["", showState],
  ["state", showState],
  ["users", showUsers],
  ["users/{id}", showUser],
  ["events", showEvents],
  ["posts", showPosts],
  ["posts/{id}", showPost],
  ["jobs", showJobs],
]);

const FORGOTTEN =
  "This page has forgotten the login, which the service did not end. Clear this site's cookies where others use the browser.";

let isSignedIn = false;
let isOperator = false;
let leave = new AbortController(); // of the view that is shown
const tabs = new BroadcastChannel("console"); // the others in which the console is open
const app = new App({ onEnded: endLogin, onDoubt: lookAgain });

// Show the view that the address names: #/users, #/users/<id>, #/users?q=ada.
function route() {
  leave.abort();
  leave = new AbortController();
  const [, path, query] = location.hash.match(/^#?\/?([^?]*)\??(.*)$/s);
  const [, name, id] = path.match(/^([^/]*)\/?(.*)$/s);
  // An id becomes a part of a path: with dots in it, it could lead to another route.
  const show = /^[\w-]*$/.test(id) ? VIEWS.get(id ? `${name}/{id}` : name) : null;
  markLink(name || "state");
  if (show) show({ app, id, query: new URLSearchParams(query), signal: leave.signal });
  else showView("There is no such view", h("p", {}, h("a", { href: "#/state" }, "To the state of the service")));
}

// Open the console for whom the cookies are of, or show what keeps it closed.
async function enter() {
  let found = null;
  try {
    found = await recognise(app.api);
  } catch (error) {
    showTrouble(app, explain(error), enter);
    return;
  }
  show(found);
}

async function enterEverywhere() {
  tabs.postMessage("changed");
  await enter();
}

function show({ state, user }) {
  leave.abort();
  closeDialogs();
  isSignedIn = user !== null;
  isOperator = state === "operator";
  showCaller(user, isOperator);
  if (isOperator) {
    if (user.id) app.names.note([user]);
    route();
  } else if (state === "nobody") showSignIn(app, enterEverywhere);
  else showRefusal(app, state, enter);
}

// The address stays, so that the person is where they were once they are signed in again.
// Whether there was a login.
function endLogin({ isDeed }) {
  if (!isSignedIn) return false;
  show({ state: "nobody", user: null });
  complain(`Your sign-in has ended${isDeed ? ", and nothing was done" : ""}. Sign in again, and you are where you were.`);
  return true;
}

// Whether an operator who was refused something still is one; when not, it is shown.
async function lookAgain() {
  if (!isOperator) return true;
  // Where it cannot be found out, the refusal is all that is known.
  const found = await recognise(app.api).catch(() => ({ state: "operator" }));
  if (found.state === "operator") return true;
  show(found);
  return false;
}

async function start() {
  try {
    await (await finishExternally(app) ? enterEverywhere() : enter());
  } catch (error) {
    await enter();
    complain(explain(error));
  }
}

addEventListener("hashchange", () => {
  if (!isOperator) return;
  closeDialogs();
  say("");
  route();
});
// A page that the browser kept for the button "Back" may be of a login that is over.
addEventListener("pageshow", (event) => {
  if (event.persisted) enter();
});
// Somebody signed in or out there, and the cookies are the same here.
tabs.addEventListener("message", enter);
onSignOut((button) =>
  app.attempt(async () => {
    const isOver = await app.api.logOut();
    tabs.postMessage("changed");
    show({ state: "nobody", user: null });
    say(isOver ? "You are signed out." : FORGOTTEN);
  }, button),
);
start();
