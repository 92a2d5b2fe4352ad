import { PathNotFound } from '../storage/storage-driver.js';

/** For `catch`: what is not in the storage is an answer, every other failure stays one. */
export function missingAs<T>(answer: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof PathNotFound) return answer;
    throw error;
  };
}
