// The service as the page sees it: the tokens are in cookies that no script can read.

const SAFE = new Set(["GET", "HEAD"]);
const BY_COOKIE = { "X-Token-Transport": "cookie" };
const PATIENCE = 30_000; // milliseconds until a request is given up

// A failure that the service answered with. `reason` is its stable word for programs, where one
// status has several causes; `retryAfter` is in seconds; `isDeed` is whether an operator did something.
export class ApiError extends Error {
  constructor({ status, body, retryAfter, isDeed }) {
    const { message = `The service answered ${status}`, reason = null, errors = {} } = body ?? {};
    const details = Object.entries(errors).map(([field, messages]) => `${field}: ${messages.join(", ")}`);
    super([message, ...details].join(" – "));
    Object.assign(this, { status, reason, body: body ?? {}, retryAfter, isDeed });
  }
}

// No answer came; `wasSent` is whether the service may have got the request.
export class NetworkError extends Error {
  constructor({ wasSent, isDeed }) {
    super("The service does not answer");
    Object.assign(this, { wasSent, isDeed });
  }
}

export class Api {
  #refreshing = null;

  // Send a request and return the body. Throws ApiError, NetworkError or, by the signal, AbortError.
  async request(method, path, options = {}) {
    let answer = await this.#send(method, path, options);
    // The access token has expired: the refresh token is exchanged for another pair, once.
    if (answer.status === 401 && !path.startsWith("/auth/login") && csrfToken()) {
      if (await this.#refresh()) answer = await this.#send(method, path, options);
    }
    if (!answer.ok) throw new ApiError(answer);
    return answer.body;
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

  // Whether the login is over: nobody but an enabled account can end its own, and the page forgets
  // the others.
  async logOut() {
    try {
      await this.request("POST", "/auth/logout");
      return true;
    } catch (error) {
      if (![401, 403].includes(error.status)) throw error;
      forgetLogin();
      return error.status === 401;
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

  async #send(method, path, { body, headers = {}, signal } = {}) {
    const sent = { ...headers };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    if (!SAFE.has(method)) sent["X-CSRF-Token"] = csrfToken();
    const isDeed = !SAFE.has(method) && path.startsWith("/admin/");
    const wasSent = navigator.onLine;
    const end = AbortSignal.timeout(PATIENCE);
    try {
      const response = await fetch(path, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, end]) : end,
      });
      const { ok, status } = response;
      const retryAfter = Number(response.headers.get("Retry-After")) || null;
      return { ok, status, retryAfter, isDeed, body: parse(await response.text()) };
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new NetworkError({ wasSent, isDeed });
    }
  }

  // Whether there is another pair of tokens; several requests at once share one refresh.
  #refresh() {
    this.#refreshing ??= this.#send("POST", "/auth/refresh")
      .then((answer) => {
        if (answer.status === 401) forgetLogin();
        // The login goes on: that the service is busy does not end it.
        else if (!answer.ok) throw new ApiError(answer);
        return answer.ok;
      })
      .finally(() => {
        this.#refreshing = null;
      });
    return this.#refreshing;
  }
}

// A proxy's own failures are no JSON.
function parse(text) {
  if (!text) return null;
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
