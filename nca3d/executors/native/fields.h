/* Where the fields of a struct lie, for code that mirrors it in another language: the last `Field` has no name, and the size of
 * the struct. Python compares names, offsets and sizes when it loads the library: a struct that was changed on one side alone is
 * an error then, and not a wrong number in memory. */
#ifndef NCA3D_FIELDS_H
#define NCA3D_FIELDS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    int64_t offset, size;
} Field;

#define FIELD(type, name) {#name, offsetof(type, name), sizeof(((type *)0)->name)}
#define END_OF(type) {NULL, sizeof(type), 0}

#endif
