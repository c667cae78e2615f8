/* Where the fields of a struct lie, for those who mirror it in another language: the last Field has no name, and its end. */
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
