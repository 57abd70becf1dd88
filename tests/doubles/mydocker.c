/*
 * A mydocker in C: chapter 3.1, as an example for whoever writes one in another language.
 *
 *     gcc -Wall -o /tmp/mydocker tests/doubles/mydocker.c
 *     sudo ./kata check 3.1 --mydocker /tmp/mydocker
 *
 * It shares nothing with solutions/mydocker but the contract. Read it from the bottom: `main` reads
 * what was typed, `run` starts a child and monitors it, and `become` turns the child into the command.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <poll.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 1, MYDOCKER_FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 };

#define USAGE "Usage: mydocker run [-i] [-t] [--rm] [--name NAME] IMAGE COMMAND [ARG...]"

static int interactive, tty;

/* Say in one line what went wrong, and end. With _exit(2): in a child, exit(3) would do once more
 * what the parent does at its end. */
static _Noreturn void fail(int status, const char *format, ...) {
    char text[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    dprintf(STDERR_FILENO, "mydocker: %s\n", text);
    _exit(status);
}

/* What a system call has returned; where it failed, that is the end. */
static int must(const char *tried, int result) {
    if (result == -1)
        fail(MYDOCKER_FAILED, "%s: %s", tried, strerror(errno));
    return result;
}

/* The child: PID 1 of the container, until it becomes the command ------------------------------ */

/* The kernel kills this process when its parent dies. The parent alone holds the other end of the
 * pipe: if that is closed, it died before the kernel was asked. */
static void die_with_parent(int parent) {
    must("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
    struct pollfd end = {.fd = parent, .events = POLLIN};
    if (must("poll", poll(&end, 1, 0)) != 0)
        _exit(MYDOCKER_FAILED);
}

/* An ID has 64 hexadecimal digits; the hostname is the first 12, and nothing needs the rest yet. */
static void set_hostname(void) {
    unsigned char id[6];
    char name[2 * sizeof id + 1];
    must("getrandom", getrandom(id, sizeof id, 0));
    for (size_t i = 0; i < sizeof id; i++)
        sprintf(name + 2 * i, "%02x", id[i]);
    must("sethostname", sethostname(name, strlen(name)));
}

static void set_lo_up(void) {
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int any = must("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must("set lo up", ioctl(any, SIOCSIFFLAGS, &lo));
    close(any);
}

/* The mounts are copies of the host's, which still pass on to the host what happens to them. */
static void mount_proc(void) {
    must("make / private", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    must("mount /proc", mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
}

/* Most commands lose output where a stream does not wait for room. The flag is the caller's, too,
 * and has to stay: whoever opens the stream anew gets a description with flags of its own. */
static void make_blocking(int stream) {
    char path[32];
    struct stat is;
    int flags = fcntl(stream, F_GETFL);
    if (flags == -1 || !(flags & O_NONBLOCK) || fstat(stream, &is) || S_ISREG(is.st_mode))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", stream);
    int again = open(path, (flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC);
    if (again != -1) /* a socket cannot be opened */
        dup2(again, stream);
}

/* With -t the container is in the foreground of the terminal, as a shell puts a job there. Without
 * -t it is in a session of its own, or Ctrl-C would come twice: by the terminal, and handed on. */
static void attach_streams(void) {
    if (tty) {
        must("setpgid", setpgid(0, 0));
        must("tcsetpgrp", tcsetpgrp(STDIN_FILENO, getpgrp()));
    } else {
        must("setsid", setsid());
    }
    if (!interactive && !tty) {
        int empty = must("open /dev/null", open("/dev/null", O_RDONLY | O_CLOEXEC));
        must("dup2", dup2(empty, STDIN_FILENO));
    }
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
        make_blocking(stream);
}

/* exec keeps what is ignored and blocked. */
static void set_default_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* some cannot be changed */
    must("sigprocmask", sigprocmask(SIG_SETMASK, &none, NULL));
}

static _Noreturn void become(char **command, int parent) {
    die_with_parent(parent);
    must("unshare", unshare(CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC));
    set_hostname();
    set_lo_up();
    attach_streams();
    mount_proc();
    umask(022);
    set_default_signals();
    execvp(command[0], command);
    fail(errno == ENOENT ? NOT_FOUND : CANNOT_EXECUTE, "exec %s: %s", command[0], strerror(errno));
}

/* The parent: it stays outside, and monitors the container ---------------------------------------- */

/* Hand signals on until the child has ended. Returns the status to end with. */
static int monitor(pid_t child, const sigset_t *awaited) {
    for (int status;;) {
        int number = sigwaitinfo(awaited, NULL);
        if (number == SIGTERM || number == SIGINT || number == SIGHUP)
            kill(child, number);
        else if (number == SIGCHLD && waitpid(child, &status, WNOHANG) == child)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

static int run(char **command) {
    int alive[2];
    sigset_t awaited;
    sigemptyset(&awaited);
    for (const int *each = (int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGTTOU, 0}; *each; each++)
        sigaddset(&awaited, *each);
    must("sigprocmask", sigprocmask(SIG_SETMASK, &awaited, NULL));
    must("pipe", pipe2(alive, O_CLOEXEC));

    must("unshare", unshare(CLONE_NEWPID)); /* whose PID 1 is the next child */
    pid_t child = must("fork", fork());
    if (child == 0) {
        close(alive[1]);
        become(command, alive[0]);
    }
    int status = monitor(child, &awaited);
    if (tty)
        tcsetpgrp(STDIN_FILENO, getpgrp()); /* the caller is in the foreground again */
    return status;
}

/* What was typed ------------------------------------------------------------------------------- */

static int is_like(const char *text, const char *pattern) {
    regex_t compiled;
    int differs = regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) ||
                  regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    return !differs;
}

/* Options stop at IMAGE: what follows it is the command's. Returns the status to end with. */
static int read_run(int count, char **words) {
    static const struct option options[] = {
        {"interactive", no_argument, NULL, 'i'}, {"tty", no_argument, NULL, 't'},
        {"rm", no_argument, NULL, 'r'},          {"name", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    opterr = 0; /* getopt(3) would write messages of its own */
    while (optind < count) {
        const char *word = words[optind];
        int option = getopt_long(count, words, "+:ith", options, NULL);
        if (option == -1)
            break;
        switch (option) {
        case 'i': interactive = 1; break;
        case 't': tty = 1; break;
        case 'r': break; /* nothing is kept yet, so nothing is to be removed */
        case 'n':
            if (!is_like(optarg, "^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$"))
                fail(MYDOCKER_FAILED, "run --name '%s': this is no name", optarg);
            break;
        case 'h': puts(USAGE); return 0;
        case ':': fail(MYDOCKER_FAILED, "run %s: a value is missing", word);
        default: fail(MYDOCKER_FAILED, "run %s: no such option", word);
        }
    }
    char **rest = words + optind;
    if (!rest[0])
        fail(FAILED, "run: IMAGE is missing");
    if (!is_like(rest[0], "^[a-z0-9][a-z0-9_.-]{0,127}$") || is_like(rest[0], "[.]tar$"))
        fail(MYDOCKER_FAILED, "run '%s': this is no name of an image", rest[0]);
    if (!rest[1])
        fail(MYDOCKER_FAILED, "run %s: no command, and the image has none of its own", rest[0]);
    if (interactive && tty && !isatty(STDIN_FILENO))
        fail(FAILED, "run -it: stdin is not a terminal");
    tty = tty && isatty(STDIN_FILENO);
    return run(rest + 1);
}

int main(int count, char **words) {
    set_default_signals(); /* where SIGCHLD is ignored, a child's end cannot be waited for */
    if (count > 1 && strcmp(words[1], "run") == 0)
        return read_run(count - 1, words + 1);
    fail(FAILED, "%s: no such command, but `run`", count > 1 ? words[1] : "nothing typed");
}
