/* Included before everything in a release build: whatever is declared is in the same static program, so it is reached
   directly instead of through a table of addresses. Smaller code, and fewer relocations at start. */
#pragma GCC visibility push(hidden)
