// Counts what vitest's JSON report says and ends the run with one line. A step that failed outside of a test counts as one
// failed test, so that the line never looks better than the run was.
import { readFileSync } from 'node:fs';

const [, , path = '', failedStep = ''] = process.argv;

/** @typedef {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number, numFailedTestSuites: number, success: boolean }} Report */

/** @returns {Report} */
function read() {
  try {
    /** @type {unknown} */
    const report = JSON.parse(readFileSync(path, 'utf8'));
    return /** @type {Report} */ (report);
  } catch {
    return {
      numPassedTests: 0,
      numFailedTests: 0,
      numPendingTests: 0,
      numTodoTests: 0,
      numFailedTestSuites: 0,
      success: false,
    };
  }
}

const report = read();
const passed = report.numPassedTests;
const skipped = report.numPendingTests + report.numTodoTests;
// A suite that could not even be loaded has no failed test.
let failed = Math.max(report.numFailedTests, report.numFailedTestSuites > 0 ? 1 : 0);
if (failedStep !== '') {
  console.log(`failed: ${failedStep}`);
  failed = Math.max(failed, 1);
} else if (!report.success || passed === 0) failed = Math.max(failed, 1);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 && skipped === 0 ? 0 : 1);
