/** A refused or failed request, as RFC 9457 tells it or as near as the network lets us. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly parameter: string | undefined;

  constructor(status: number, detail: string, parameter?: string) {
    super(detail);
    this.name = "ApiProblem";
    this.status = status;
    this.parameter = parameter;
  }

  /** Asking again may help: the network, or the server's own trouble. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export function problemOf(status: number, body: unknown): ApiProblem {
  if (typeof body === "object" && body !== null) {
    const { detail, title, parameter } = body as { detail?: unknown; title?: unknown; parameter?: unknown };
    const text = typeof detail === "string" && detail !== "" ? detail : title;
    if (typeof text === "string") return new ApiProblem(status, text, typeof parameter === "string" ? parameter : undefined);
  }
  return new ApiProblem(status, `the server answered with status ${status}`);
}

export function isSignedOut(reason: unknown): boolean {
  return reason instanceof ApiProblem && reason.status === 401;
}
