// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test guest. Runs the commands of /plan one after the other,
 * writes what they print to the second extra serial port as KTAP, and when all
 * have ended the verdict to the first. The kernel console stays a port of its
 * own, so that nothing printed there can be taken for a result.
 *
 * /plan has one command a line: SECONDS NAME COMMAND [ARGUMENT ...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define KSFT_SKIP	4
#define MAX_ARGS	32

struct totals {
	unsigned int total, passed, failed, skipped;
};

static const struct {
	const char *type, *dir, *options;
} mounts[] = {
	{ "proc", "/proc", NULL },
	{ "sysfs", "/sys", NULL },
	{ "devtmpfs", "/dev", NULL },
	{ "tmpfs", "/tmp", NULL },
	{ "tmpfs", "/dev/shm", NULL },
	{ "debugfs", "/sys/kernel/debug", NULL },
	{ "tracefs", "/sys/kernel/tracing", NULL },
	{ "cgroup2", "/sys/fs/cgroup", NULL },
};

static FILE *ktap, *verdict;

static void mount_all(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].dir, 0755);
		if (mount(mounts[i].type, mounts[i].dir, mounts[i].type, 0, mounts[i].options) &&
		    errno != EBUSY && errno != ENODEV && errno != ENOENT)
			fprintf(stderr, "init: mount %s: %s\n", mounts[i].dir, strerror(errno));
	}
}

static FILE *open_port(const char *path)
{
	struct termios tio;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	FILE *port;

	if (fd < 0 || tcgetattr(fd, &tio)) {
		fprintf(stderr, "init: %s: %s\n", path, strerror(errno));
		return NULL;
	}
	cfmakeraw(&tio);
	tcsetattr(fd, TCSANOW, &tio);
	port = fdopen(fd, "w");
	setlinebuf(port);
	return port;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Tests find what belongs to them relative to where they stand */
static void enter_folder_of(const char *path)
{
	char *dir = strdup(path);

	if (chdir(dirname(dir)))
		perror(path);
	free(dir);
}

static pid_t spawn(char **argv, int *out)
{
	int pipefd[2];
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		dup2(pipefd[1], STDOUT_FILENO);
		dup2(pipefd[1], STDERR_FILENO);
		enter_folder_of(argv[0]);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(pipefd[1]);
	*out = pipefd[0];
	return pid;
}

/* Copy what the command prints, indented; false when its time is over */
static bool relay(int fd, double deadline)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	bool line_start = true;
	char buf[4096];
	double left;
	ssize_t n, i;

	for (;;) {
		left = deadline - now();
		if (left <= 0)
			return false;
		if (poll(&pfd, 1, left * 1000 + 1) <= 0)
			continue;
		n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			return true;
		for (i = 0; i < n; i++) {
			if (line_start)
				fputs("  ", ktap);
			fputc(buf[i], ktap);
			line_start = buf[i] == '\n';
		}
		fflush(ktap);
	}
}

/* Where does every task and CPU stand? Onto the console */
static void dump_tasks(void)
{
	static const char keys[] = "tlm";
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	const char *key;

	if (fd < 0)
		return;
	for (key = keys; *key; key++)
		if (write(fd, key, 1) != 1)
			perror("/proc/sysrq-trigger");
	close(fd);
}

static void reap(pid_t pid, int *status)
{
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	kill(-pid, SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void report(struct totals *t, const char *name, int status, bool in_time, double seconds)
{
	t->total++;
	if (!in_time) {
		t->failed++;
		fprintf(ktap, "not ok %u %s # timed out after %.0f s\n", t->total, name, seconds);
	} else if (WIFSIGNALED(status)) {
		t->failed++;
		fprintf(ktap, "not ok %u %s # signal %d\n", t->total, name, WTERMSIG(status));
	} else if (WEXITSTATUS(status) == KSFT_SKIP) {
		t->skipped++;
		fprintf(ktap, "ok %u %s # SKIP\n", t->total, name);
	} else if (WEXITSTATUS(status)) {
		t->failed++;
		fprintf(ktap, "not ok %u %s # exit %d\n", t->total, name, WEXITSTATUS(status));
	} else {
		t->passed++;
		fprintf(ktap, "ok %u %s\n", t->total, name);
	}
}

static void run(struct totals *t, double limit, const char *name, char **argv)
{
	double start = now();
	int status = 0;
	bool in_time;
	pid_t pid;
	int fd;

	fprintf(ktap, "# Subtest: %s\n", name);
	pid = spawn(argv, &fd);
	if (pid < 0) {
		report(t, name, 127 << 8, true, 0);
		return;
	}
	in_time = relay(fd, start + limit);
	if (!in_time) {
		dump_tasks();
		kill(-pid, SIGKILL);
	}
	close(fd);
	reap(pid, &status);
	fprintf(ktap, "# %s took %.1f s\n", name, now() - start);
	report(t, name, status, in_time, limit);
}

static int split(char *line, char **words)
{
	char *save, *word;
	int n = 0;

	for (word = strtok_r(line, " \n", &save); word && n < MAX_ARGS - 1;
	     word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	words[n] = NULL;
	return n;
}

static bool run_plan(struct totals *t)
{
	char line[1024], *words[MAX_ARGS];
	FILE *plan = fopen("/plan", "re");

	if (!plan)
		return false;
	fputs("KTAP version 1\n", ktap);
	while (fgets(line, sizeof(line), plan)) {
		if (split(line, words) >= 3)
			run(t, atof(words[0]), words[1], words + 2);
	}
	fprintf(ktap, "1..%u\n", t->total);
	fclose(plan);
	return true;
}

static void power_off(void)
{
	sync();
	/* Either ends QEMU; a kernel without ACPI can only do the latter */
	reboot(access("/sys/firmware/acpi", F_OK) ? RB_AUTOBOOT : RB_POWER_OFF);
	for (;;)
		pause();
}

int main(void)
{
	struct totals t = { 0 };

	mount_all();
	setenv("PATH", "/bin:/sbin", 1);
	setenv("HOME", "/", 1);
	verdict = open_port("/dev/ttyS1");
	ktap = open_port("/dev/ttyS2");
	if (!verdict || !ktap)
		power_off();

	if (run_plan(&t)) {
		tcdrain(fileno(ktap));
		fprintf(verdict, "finished total=%u passed=%u failed=%u skipped=%u\n",
			t.total, t.passed, t.failed, t.skipped);
		tcdrain(fileno(verdict));
	} else {
		fprintf(stderr, "init: no /plan\n");
	}
	power_off();
}
