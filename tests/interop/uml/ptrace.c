/*
 * User Mode Linux 6.1 writes the floating-point state of its processes in an area of 2696 octets. A host whose processor has more
 * (AMX: 11008 octets) takes areas of the full size alone and answers EFAULT, whereupon nothing starts. Preloaded into linux.uml, this
 * ptrace() fills such an area up: with zeros, and with a header that names none of the parts which UML does not know.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Offset of XSTATE_BV in the header of an XSAVE area, and the parts below 2696 octets: x87 to PKRU. */
enum { XSTATE_BV = 512, KNOWN_PARTS = 0x2ff, LARGEST = 1 << 16 };

/* Not on the stack: those of UML's kernel are small. It has one thread. */
static union {
  uint8_t octets[LARGEST];
  uint64_t words[LARGEST / 8];
} area;
static size_t full;

static long set_xstate(long pid, const struct iovec *given) {
  if (!full) {
    struct iovec probe = {area.octets, sizeof area};
    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &probe) < 0) return -1;
    full = probe.iov_len;
  }
  if (given->iov_len <= XSTATE_BV + 8 || given->iov_len >= full)
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, given);
  memcpy(area.octets, given->iov_base, given->iov_len);
  memset(area.octets + given->iov_len, 0, full - given->iov_len);
  area.words[XSTATE_BV / 8] &= KNOWN_PARTS;
  struct iovec whole = {area.octets, full};
  return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &whole);
}

long ptrace(enum __ptrace_request request, ...) {
  __builtin_va_list list;
  __builtin_va_start(list, request);
  long pid = __builtin_va_arg(list, pid_t);
  void *address = __builtin_va_arg(list, void *);
  void *data = __builtin_va_arg(list, void *);
  __builtin_va_end(list);
  if (request == PTRACE_SETREGSET && (uintptr_t)address == NT_X86_XSTATE) return set_xstate(pid, data);
  if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
    return syscall(SYS_ptrace, request, pid, address, data);
  long word;
  if (syscall(SYS_ptrace, request, pid, address, &word) < 0) return -1;
  errno = 0;
  return word;
}
