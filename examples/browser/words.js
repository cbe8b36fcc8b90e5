// Failures in words for people. Programs go by `reason` and the status, never by the message.

const REASONS = {
  second_factor_failed: "That code is wrong, or was used before. Wait for the next one and type it again.",
  login_expired: "This login has expired, or the account was changed meanwhile. Log in again.",
  email_unverified: "Verify your email address first: follow the link in the mail that you got, then try again.",
  insufficient_scope: "This needs a login, not an API key.",
  key_limit: "You have as many API keys as an account can have. Revoke one that you no longer use.",
};

export function explain(error) {
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
