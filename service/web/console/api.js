// The service as the page sees it: the tokens are in cookies that no script can read.

const SAFE = new Set(["GET", "HEAD"]);
const BY_COOKIE = { "X-Token-Transport": "cookie" };

// A failure that the service answered with. `reason` is its stable word for programs, where one
// status has several causes; `retryAfter` is in seconds.
export class ApiError extends Error {
  constructor(response, body) {
    const fields = Object.entries(body.errors ?? {});
    const details = fields.map(([field, messages]) => `${field}: ${messages.join(", ")}`);
    super([body.message ?? `The service answered ${response.status}`, ...details].join(" – "));
    this.status = response.status;
    this.reason = body.reason ?? null;
    this.body = body;
    this.retryAfter = Number(response.headers.get("Retry-After")) || null;
  }
}

export class Api {
  #refreshing = null;

  // Send a request and return the body. Throws ApiError.
  async request(method, path, { body, headers = {}, signal } = {}) {
    let response = await this.#send(method, path, body, headers, signal);
    // The access token has expired: the refresh token is exchanged for another pair, once.
    if (response.status === 401 && !path.startsWith("/auth/login") && csrfToken()) {
      if (await this.#refresh()) {
        response = await this.#send(method, path, body, headers, signal);
      }
    }
    return read(response);
  }

  get(path, { parameters = {}, signal } = {}) {
    const given = Object.entries(parameters).filter(([, value]) => value);
    const query = given.length > 0 ? `?${new URLSearchParams(given)}` : "";
    return this.request("GET", path + query, { signal });
  }

  // Throws ApiError with the reason "second_factor_required", whose body has the `login_token` for
  // `finishLogIn`, where the account has a second factor.
  logIn(email, password) {
    return this.request("POST", "/auth/login", { body: { email, password }, headers: BY_COOKIE });
  }

  // `proof` is {code}, {recovery_code} or {passkey}.
  finishLogIn(loginToken, proof) {
    const options = { body: { login_token: loginToken, ...proof }, headers: BY_COOKIE };
    return this.request("POST", "/auth/login/second-factor", options);
  }

  // Log in with a passkey alone, whose credential is that of `toJSON()`.
  logInByPasskey(credential) {
    return this.request("POST", "/auth/login/passkey", { body: { credential }, headers: BY_COOKIE });
  }

  // Log in with the code of an external provider; throws as `logIn` does.
  logInExternally(proof) {
    return this.request("POST", "/auth/login/external", { body: proof, headers: BY_COOKIE });
  }

  // No other than a live session of an enabled account can end itself: the page forgets the others.
  async logOut() {
    try {
      await this.request("POST", "/auth/logout");
    } catch (error) {
      if (![401, 403].includes(error.status)) throw error;
      forgetLogin();
    }
  }

  // The account of the login session in the cookies; null when there is none.
  async whoAmI() {
    if (!csrfToken()) return null;
    try {
      return await this.request("GET", "/auth/me");
    } catch (error) {
      if (error.status === 401) return null;
      throw error;
    }
  }

  #send(method, path, body, headers, signal) {
    const sent = { ...headers };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    if (!SAFE.has(method)) sent["X-CSRF-Token"] = csrfToken();
    return fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  }

  // Several requests at once share one refresh.
  #refresh() {
    this.#refreshing ??= this.#send("POST", "/auth/refresh", undefined, {})
      .then((response) => {
        if (response.status === 401) forgetLogin();
        return response.ok;
      })
      .finally(() => {
        this.#refreshing = null;
      });
    return this.#refreshing;
  }
}

async function read(response) {
  const text = await response.text();
  const body = text ? parse(text) : null;
  if (!response.ok) throw new ApiError(response, body ?? {});
  return body;
}

// A proxy's own failures are no JSON.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function csrfToken() {
  return document.cookie.match(/(?:^|; )csrf_token=([^;]*)/)?.[1] ?? "";
}

function forgetLogin() {
  document.cookie = "csrf_token=; Path=/; Max-Age=0";
}
