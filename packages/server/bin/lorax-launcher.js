#!/usr/bin/env node
// LoRAX's launcher took the server's flags and no command: the same line starts this server.
process.argv.splice(2, 0, 'serve');
await import('../dist/cli/main.js');
