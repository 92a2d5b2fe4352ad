/** A plain "no": the command ends with 1. The message is one line and says what to do. */
export class Refused extends Error {
  override readonly name = 'Refused';
}
