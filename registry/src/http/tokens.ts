/** What the controllers are given. */
export const LOGGER = Symbol('logger');
export const HANDED_FILES = Symbol('handed files');
export const UPLOAD_LOCATIONS = Symbol('upload locations');
