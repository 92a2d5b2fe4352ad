import { MemoryDriver } from './memory.js';
import { describeDriver } from './testing/driver-contract.js';

const storage = new MemoryDriver();
describeDriver('memory', () => Promise.resolve(storage));
