// The page: signing in, an endless list, writing, editing, and live updates.

import { Api, serviceAddress } from "./api.js";
import { explainExchange, leaveFor, listProviders, showProviders, takeReturn } from "./external.js";
import { awaitPasskey, canUsePasskeys, getPasskey, logInByPasskey, logInOptions } from "./passkeys.js";
import { askForProof } from "./proof.js";
import { follow } from "./stream.js";
import { explain } from "./words.js";

const PER_PAGE = 20;
const $ = (id) => document.getElementById(id);

let api = null;
let user = null;
let leaveStream = null;
let nextCursor = null;
let loading = null;
const shown = new Map(); // post id → { post, element }

// ---- Messages

function say(text, action) {
  const message = $("message");
  message.textContent = text;
  message.hidden = !text;
  if (action) {
    const button = document.createElement("button");
    button.textContent = action.label;
    button.addEventListener("click", () => attempt(action.run));
    message.append(" ", button);
  }
}

// Do what the person asked for, and show why when it fails.
async function attempt(work) {
  try {
    say("");
    await work();
  } catch (error) {
    say(explain(error));
    if (error.status === 401) await showLoggedOut();
  }
}

// ---- Account

async function showUser(found) {
  user = found;
  if (user) offer?.abort();
  $("sign-in").hidden = Boolean(user);
  $("account").hidden = !user;
  $("username").textContent = user?.username ?? "";
  for (const { post, element } of shown.values()) showOwn(element, post);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const { email, password } = Object.fromEntries(new FormData(form));
  attempt(async () => {
    if (event.submitter?.value === "register") {
      await api.request("POST", "/auth/register", { body: { email, password } });
    }
    const found = await logIn(email, password);
    if (found) await enter(found);
  });
});

// A login that failed is none that ended: what is offered stays.
async function showLoggedOut() {
  const ended = user !== null;
  await showUser(null);
  if (ended) await offerWays();
}

async function enter(found) {
  await showUser(found);
  $("sign-in").reset();
  $("title").focus();
}

async function logIn(email, password) {
  // A browser asks for one passkey at a time, and the second step may need one.
  offer?.abort();
  try {
    return await api.logIn(email, password);
  } catch (error) {
    return finishLogIn(error, "The password is right. This account needs a second factor, too.");
  }
}

// Finish a login that was refused for want of the second factor; null when the person gives up.
async function finishLogIn(error, text) {
  if (error.reason !== "second_factor_required") throw error;
  const { login_token, factors } = error.body;
  const path = "/auth/login/second-factor/options";
  const answer = await askForProof({
    title: "Second step",
    text,
    // An authenticator app is called by its kind here, and what it shows is a code.
    methods: factors.map((factor) => (factor === "totp" ? "code" : factor)),
    send: (proof) => api.finishLogIn(login_token, proof),
    passkeyOptions: async () => (await api.request("POST", path, { body: { login_token } })).body,
  });
  const left = answer?.recovery_codes_left;
  if (left !== undefined) say(`That recovery code is spent now; ${left} are left.`);
  return answer?.user ?? null;
}

$("log-out").addEventListener("click", () =>
  attempt(async () => {
    await api.logOut();
    await showLoggedOut();
  }),
);

// ---- Passkeys

let offer = null; // what ends the passkeys that the browser offers in the field for the address

async function offerPasskeys(first) {
  offer?.abort();
  if (user || !canUsePasskeys()) return;
  const offering = new AbortController();
  offer = offering;
  try {
    const picked = await awaitPasskey(api, offering.signal, first);
    if (!picked) return;
    const { options, credential } = picked;
    await attempt(async () => enter(await logInByPasskey(api, options, credential)));
  } catch {
    // Comfort that is not to be had now: the field asks again.
  } finally {
    offering.abort();
  }
}

// After a passkey that failed, or a login that was given up.
$("email").addEventListener("focus", () => {
  if (offer?.signal.aborted && !$("log-in-passkey").hidden) offerPasskeys();
});

$("log-in-passkey").addEventListener("click", () =>
  attempt(async () => {
    offer?.abort();
    const options = await logInOptions(api);
    await enter(await logInByPasskey(api, options, await getPasskey(options)));
  }),
);

// ---- External providers

// Finish the login of a person whom a provider sent back.
async function finishExternally(returned = takeReturn(api)) {
  if (!returned) return;
  const { title, proof } = returned;
  let answer = null;
  try {
    answer = await api.logInExternally(proof);
  } catch (error) {
    if (error.reason === "second_factor_required") {
      const found = await finishLogIn(error, `${title} knows you. This account needs a second factor, too.`);
      if (found) await enter(found);
      return;
    }
    // The code stays good for its two minutes.
    if (error.reason === "provider_unavailable") {
      say(`${title} does not answer.`, { label: "Try again", run: () => finishExternally(returned) });
      return;
    }
    if (error.reason === "email_unverified") {
      throw new Error(`${title} confirms no email address of yours. Log in in another way.`);
    }
    const words = explainExchange(error, title);
    throw words === null ? error : new Error(words);
  }
  await enter(answer.user);
  if (answer.created) say(`Welcome: your account is new, and your name here is ${answer.user.username}.`);
}

// Show the ways to log in that the service and the browser have.
async function offerWays() {
  if (user) return;
  const providers = await listProviders(api);
  const label = (title) => `Continue with ${title}`;
  showProviders($("providers"), providers, label, (provider) => attempt(() => leaveFor(api, provider)));
  const options = canUsePasskeys() ? await logInOptions(api) : null;
  $("log-in-passkey").hidden = !options;
  if (options) offerPasskeys(options);
}

// ---- The list

function fill(element, post) {
  element.id = post.id;
  element.setAttribute("aria-label", post.title);
  element.querySelector("h3").textContent = post.title;
  element.querySelector(".author").textContent = post.author;
  element.querySelector(".content").textContent = post.content;
  const time = element.querySelector("time");
  time.dateTime = post.created_at;
  time.textContent = new Date(post.created_at).toLocaleString();
  showOwn(element, post);
}

function showOwn(element, post) {
  element.querySelector(".own").hidden = post.author !== user?.username;
}

// Show a new post in its place, or a shown one's newer version.
function show(post, { listed = false } = {}) {
  const known = shown.get(post.id);
  if (known && known.post.version > post.version) return;
  if (known) {
    known.post = post;
    fill(known.element, post);
    return;
  }
  const after = [...$("posts").children].find((other) => isNewer(post, shown.get(other.id).post));
  // A post older than all that are shown is added when the list gets there.
  if (!after && nextCursor && !listed) return;
  const element = $("post").content.firstElementChild.cloneNode(true);
  fill(element, post);
  element.querySelector(".edit").addEventListener("click", () => attempt(() => edit(post.id)));
  element.querySelector(".delete").addEventListener("click", () => attempt(() => remove(post.id)));
  $("posts").insertBefore(element, after ?? null);
  shown.set(post.id, { post, element });
}

function isNewer(one, other) {
  return one.created_at === other.created_at ? one.id > other.id : one.created_at > other.created_at;
}

function hide(id) {
  shown.get(id)?.element.remove();
  shown.delete(id);
}

function loadMore() {
  loading ??= readOn().finally(() => {
    loading = null;
    $("posts").setAttribute("aria-busy", "false");
  });
  return loading;
}

async function readOn() {
  $("posts").setAttribute("aria-busy", "true");
  const query = new URLSearchParams({ per_page: PER_PAGE });
  if (nextCursor) query.set("cursor", nextCursor);
  const { body } = await api.request("GET", `/api/posts?${query}`);
  for (const post of body.posts) show(post, { listed: true });
  nextCursor = body.next_cursor;
  $("more").hidden = !nextCursor;
}

async function reload() {
  for (const [id, { element }] of [...shown]) {
    // A text that is being written stays.
    if (!element.querySelector("form")) hide(id);
  }
  nextCursor = null;
  await loadMore();
}

$("more").addEventListener("click", () => attempt(loadMore));
new IntersectionObserver(
  (entries) => {
    if (entries.some((entry) => entry.isIntersecting) && nextCursor) attempt(loadMore);
  },
  { rootMargin: "300px" },
).observe($("end"));

// ---- Writing

$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  // An idempotency key: sent again after a lost response, the form writes no second post.
  form.dataset.key ||= crypto.randomUUID?.() ?? String(Math.random());
  attempt(async () => {
    const headers = { "Idempotency-Key": form.dataset.key };
    const body = Object.fromEntries(new FormData(form));
    const answer = await api.request("POST", "/api/posts", { body, headers });
    form.reset();
    delete form.dataset.key;
    show(answer.body);
  });
});

// Another text is another post, so it needs another key.
$("write").addEventListener("input", (event) => delete event.currentTarget.dataset.key);

async function edit(id) {
  const { element } = shown.get(id);
  if (element.querySelector("form")) return;
  let { body: post, headers } = await api.request("GET", `/api/posts/${id}`);
  let tag = headers.get("ETag");
  const form = $("editor").content.firstElementChild.cloneNode(true);
  form.elements.title.value = post.title;
  form.elements.content.value = post.content;
  form.querySelector(".cancel").addEventListener("click", () => form.remove());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const body = Object.fromEntries(new FormData(form));
      try {
        const saved = await api.request("PATCH", `/api/posts/${id}`, {
          body,
          headers: { "If-Match": tag },
        });
        form.remove();
        show(saved.body);
      } catch (error) {
        if (error.status !== 412) throw error;
        ({ body: post, headers } = await api.request("GET", `/api/posts/${id}`));
        tag = headers.get("ETag");
        show(post);
        showConflict(form, post);
      }
    });
  });
  element.append(form);
  form.elements.title.focus();
}

function showConflict(form, post) {
  const conflict = form.querySelector(".conflict");
  conflict.textContent =
    `This post was changed elsewhere while you wrote; it now says “${post.title}”. ` +
    "Your text is kept here: save once more to put it in the place of the other one.";
  conflict.hidden = false;
}

async function remove(id) {
  await api.request("DELETE", `/api/posts/${id}`);
  hide(id);
  const run = async () => show((await api.request("POST", `/api/posts/${id}/restore`)).body);
  say("The post is deleted.", { label: "Undo", run });
}

// ---- The live stream

// Follow the stream, and return once it is known whether it is open: a list that is read then has
// all that the stream does not send.
function followPosts() {
  leaveStream?.();
  return new Promise((known) => {
    let first = true;
    leaveStream = follow(api.origin, ({ kind, data, fresh }) => {
      if (kind === "open" || kind === "lost") {
        $("live").textContent = kind === "open" ? "live" : "connecting again …";
        if (fresh && !first) attempt(reload);
        first = false;
        known();
      } else if (kind === "reset") {
        attempt(reload);
      } else if (kind === "post.deleted") {
        hide(JSON.parse(data).id);
      } else {
        show(JSON.parse(data));
      }
    });
  });
}

addEventListener("pagehide", () => leaveStream?.());
addEventListener("pageshow", (event) => {
  if (event.persisted) attempt(() => connect(api.origin));
});

// ---- Start

async function connect(address) {
  api = new Api(address);
  $("security").href = `security.html?${new URLSearchParams({ api: api.origin })}`;
  await followPosts();
  await reload();
  await showUser(await api.whoAmI());
  await finishExternally().catch((error) => say(explain(error)));
  await offerWays();
}

$("service").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => connect($("api").value));
});

$("api").value = serviceAddress();
attempt(() => connect($("api").value));
