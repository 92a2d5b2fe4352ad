import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';

/** The head of the answer to a request. One that switches protocols is an error. */
export async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  refuseUpgrade(sent);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return answer;
}

/** Has an answer that switches protocols, of which Node would say nothing, be an error of the request. */
export function refuseUpgrade(sent: ClientRequest): void {
  sent.once('upgrade', (_answer, socket) => {
    socket.destroy();
    sent.emit('error', new Error('it answered 101, which nobody asked for'));
  });
}
