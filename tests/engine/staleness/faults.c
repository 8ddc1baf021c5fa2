/* Preloaded into the compile program to make one system call fail on one file. FAULT is `CALL ERRNO PATH`; PATH matches any
 * part of the file's path. Programs that the compile program starts are not affected. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *call, const char *path) {
    char name[64], part[512];
    int code;
    const char *fault = getenv("FAULT");
    if (!fault || strcmp(program_invocation_short_name, "compile") || !path) return 0;
    if (sscanf(fault, "%63s %d %511[^\n]", name, &code, part) != 3 || strcmp(name, call) || !strstr(path, part)) return 0;
    errno = code;
    return 1;
}

static int fails_at(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlinkat(AT_FDCWD, link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return fails("open", path) ? -1 : REAL(open64)(path, flags, mode);
}
ssize_t read(int fd, void *to, size_t count) { return fails_at("read", fd) ? -1 : REAL(read)(fd, to, count); }
ssize_t write(int fd, const void *from, size_t count) { return fails_at("write", fd) ? -1 : REAL(write)(fd, from, count); }
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags) {
    return fails_at("copy", out) ? -1 : REAL(copy_file_range)(in, in_at, out, out_at, count, flags);
}
struct dirent64 *readdir64(DIR *directory) {
    return fails_at("readdir", dirfd(directory)) ? NULL : REAL(readdir64)(directory);
}
DIR *opendir(const char *path) { return fails("opendir", path) ? NULL : REAL(opendir)(path); }
ssize_t readlink(const char *path, char *to, size_t size) { return fails("readlink", path) ? -1 : REAL(readlink)(path, to, size); }
int symlink(const char *to, const char *path) { return fails("symlink", path) ? -1 : REAL(symlink)(to, path); }
int unlink(const char *path) { return fails("unlink", path) ? -1 : REAL(unlink)(path); }
int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }
int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }
int utimensat(int directory, const char *path, const struct timespec times[2], int flags) {
    return fails("utimensat", path) ? -1 : REAL(utimensat)(directory, path, times, flags);
}
int statx(int directory, const char *restrict path, int flags, unsigned mask, struct statx *restrict to) {
    int failed = path && *path ? fails("stat", path) : fails_at("fstat", directory);
    return failed ? -1 : REAL(statx)(directory, path, flags, mask, to);
}
