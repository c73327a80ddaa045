/* Keeps the memory of a virtual machine in use while a benchmark runs.
 *
 * A host takes free memory of its guests back, and the guest pays one to two CPU seconds per gigabyte to touch it
 * again: more than a broker spends on the data. This program maps a sparse file and touches its pages until only so
 * much memory is free. The kernel drops those pages, which are clean, as soon as somebody needs memory, and what it
 * drops needs nothing from the host.
 *
 *     filler <file> <bytes to leave free>
 *
 * Each line on standard input makes it fill again; it answers with the free bytes. It ends with its input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static unsigned long long memory(int total) {
        struct sysinfo info;
        if (sysinfo(&info) != 0)
                exit(1);
        return (unsigned long long)(total ? info.totalram : info.freeram) * info.mem_unit;
}

int main(int argc, char **argv) {
        if (argc != 3)
                return 2;
        unsigned long long leave_free = strtoull(argv[2], NULL, 10), size = memory(1);
        int file                      = open(argv[1], O_RDWR | O_CREAT, 0600);
        if (file < 0 || ftruncate(file, (off_t)size) != 0)
                return 1;
        volatile const char *pages = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
        if (pages == MAP_FAILED)
                return 1;
        for (int byte; (byte = getchar()) != EOF;) {
                if (byte != '\n')
                        continue;
                for (unsigned long long at = 0; at < size; at += 4096) {
                        if (at % (8 << 20) == 0 && memory(0) <= leave_free)
                                break;
                        (void)pages[at];
                }
                printf("%llu\n", memory(0));
                fflush(stdout);
        }
        return 0;
}
