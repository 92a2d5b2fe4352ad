/** What the controllers are given. */
export const LOGGER = Symbol('logger');
export const UPLOAD_LOCATIONS = Symbol('upload locations');
