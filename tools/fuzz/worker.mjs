// Plain JavaScript: teaches the thread our TypeScript, then hands over.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
