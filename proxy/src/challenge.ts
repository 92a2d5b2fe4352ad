/** What a 401 asks for. Never two challenges: measured, Docker then neither logs in nor pulls without an account. */
export function challenge(): Record<string, string> {
  // https://www.rfc-editor.org/rfc/rfc7617#section-2.1
  return { 'WWW-Authenticate': 'Basic realm="Wharfie", charset="UTF-8"' };
}
