// Failures in words for people. Programs go by `reason` and the status, never by the message.

import { NetworkError } from "./api.js";

const REASONS = {
  second_factor_failed: "That code is wrong, or was used before. Wait for the next one and type it again.",
  login_expired: "This sign-in has expired, or the account was changed meanwhile. Sign in again.",
  passkey_unknown: "No account here has that passkey any more. Sign in in another way.",
  passkey_refused: "That passkey was not accepted. Try again, or confirm in another way.",
  provider_unavailable: "The provider does not answer. Begin again in a moment.",
  email_unverified: "The provider confirms no email address of yours. Sign in in another way.",
};

// What browsers throw when a passkey is asked for. They do not say more, so that no page learns more.
const BROWSER = {
  NotAllowedError: "No passkey was used: it was cancelled, it took too long, or the device did not recognise you.",
  SecurityError: "Passkeys of this service do not work at this page's address.",
};

// What is thrown by mistakes in this page.
const FAULTS = [TypeError, ReferenceError, RangeError];

export function explain(error) {
  if (error instanceof DOMException && error.name in BROWSER) return BROWSER[error.name];
  if (error instanceof NetworkError) return explainSilence(error);
  if (FAULTS.some((kind) => error instanceof kind)) {
    reportError(error); // for those who mend the page
    return "This page has a fault. Reload it, and look what was done.";
  }
  if (error.reason === "second_factor_locked") {
    const wait = inTime(error.retryAfter);
    return `Too many wrong codes: no code is looked at for now. Try again ${wait}, or use a recovery code.`;
  }
  if (error.reason in REASONS) return REASONS[error.reason];
  if (error.status === 409) return `${error.message}. Nothing was done.`;
  if (error.status === 412) return "It was changed meanwhile, and nothing was done. Look at it again first.";
  if (error.status === 429) return `Too many requests. Try again ${inTime(error.retryAfter)}.`;
  if (error.status === 503) return `${error.message}. Try again ${inTime(error.retryAfter)}.`;
  return /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
}

function explainSilence({ wasSent, isDeed }) {
  if (!wasSent) return "You are offline. Nothing was sent; try again when you are back.";
  if (isDeed) return "The service does not answer. Look whether it was done before you try again.";
  return "The service does not answer. Try again in a moment.";
}

function inTime(seconds) {
  if (!seconds) return "later";
  if (seconds < 90) return `in ${count(seconds, "second")}`;
  if (seconds < 5400) return `in ${Math.ceil(seconds / 60)} minutes`;
  return `in ${Math.ceil(seconds / 3600)} hours`;
}

// "1 event", "2 events", "no event".
export function count(number, noun) {
  if (number === 0) return `no ${noun}`;
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

// A name that others chose, within a sentence: text from right to left does not turn the rest of it.
export function isolate(name) {
  if (!/[\u0590-\u08ff\ufb1d-\ufefc\p{Bidi_Control}]/u.test(name)) return name;
  return `\u2068${name.replace(/\p{Bidi_Control}/gu, "")}\u2069`;
}
