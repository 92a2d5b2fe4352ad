/** What the filter logs to. */
export const LOGGER = Symbol('logger');
