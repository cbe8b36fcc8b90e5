// Failures in words for people. Programs go by `reason` and the status, never by the message.

const REASONS = {
  second_factor_failed: "That code is wrong, or was used before. Wait for the next one and type it again.",
  login_expired: "This login has expired, or the account was changed meanwhile. Log in again.",
  email_unverified: "Verify your email address first: follow the link in the mail that you got, then try again.",
  insufficient_scope: "This needs a login, not an API key.",
  passkey_unknown: "No account here has that passkey any more. Log in in another way.",
  passkey_refused: "That passkey was not accepted. Try again, or confirm in another way.",
  last_login_method:
    "Nothing else logs you in: set a password (“Forgot your password?” mails the link), or add another passkey or " +
    "linked sign-in first.",
  provider_unavailable: "The provider does not answer. Begin again in a moment.",
  identity_limit: "You have as many linked sign-ins as an account can have. Unlink one that you no longer use.",
  key_limit: "You have as many API keys as an account can have. Revoke one that you no longer use.",
};

// What browsers throw when a passkey is asked for. They do not say more, so that no page learns more.
const BROWSER = {
  NotAllowedError: "No passkey was used: it was cancelled, it took too long, or the device did not recognise you.",
  InvalidStateError: "This device or security key is added already.",
  SecurityError: "Passkeys of this service do not work at this page's address.",
};

export function explain(error) {
  if (error instanceof DOMException && error.name in BROWSER) return BROWSER[error.name];
  // Of fetch, when no response came.
  if (error instanceof TypeError) return `The service cannot be reached: ${error.message}`;
  if (error.reason === "second_factor_locked") {
    const wait = inTime(error.retryAfter);
    return `Too many wrong codes: no code is looked at for now. Try again ${wait}, or use a recovery code.`;
  }
  if (error.reason in REASONS) return REASONS[error.reason];
  if (error.status === 429) return `Too many tries. Try again ${inTime(error.retryAfter)}.`;
  if (error.status === 503) return `${error.message}. Try again ${inTime(error.retryAfter)}.`;
  return error.message;
}

export function inTime(seconds) {
  if (!seconds) return "later";
  if (seconds < 90) return `in ${seconds} seconds`;
  if (seconds < 5400) return `in ${Math.ceil(seconds / 60)} minutes`;
  return `in ${Math.ceil(seconds / 3600)} hours`;
}

export function showTime(time) {
  return time ? new Date(time).toLocaleString() : "never";
}
