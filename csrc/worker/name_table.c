/* name_table.c: how the table works.
 *
 * A name's home is its hash modulo the number of places. It is there or in the next free place
 * after it (linear probing). A search ends at the first empty place, so removing a name must not
 * leave a hole before a name that was pushed past it: the following names are moved back as far as
 * their homes allow. This avoids tombstones, which would have to be cleaned up some day. */
#include "worker/name_table.h"

#include <stddef.h>
#include <string.h>

/* FNV-1a, 32 bits. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}

void name_table_init(name_table_t *table, name_node_t **places, uint32_t place_count)
{
    *table = (name_table_t){.places = places, .mask = place_count - 1};
}

void name_table_add(name_table_t *table, name_node_t *node, const char *name)
{
    node->name = name;
    node->hash = hash_of(name);
    uint32_t at = node->hash & table->mask;
    while (table->places[at] != NULL)
        at = (at + 1) & table->mask;
    table->places[at] = node;
}

void name_table_remove(name_table_t *table, const name_node_t *node)
{
    uint32_t hole = node->hash & table->mask;
    while (table->places[hole] != node)
        hole = (hole + 1) & table->mask;
    table->places[hole] = NULL;
    for (uint32_t at = (hole + 1) & table->mask; table->places[at] != NULL;
         at = (at + 1) & table->mask) {
        uint32_t pushed = (at - table->places[at]->hash) & table->mask;
        if (pushed < ((at - hole) & table->mask))
            continue; /* its home is after the hole */
        table->places[hole] = table->places[at];
        table->places[at] = NULL;
        hole = at;
    }
}

name_node_t *name_table_find(const name_table_t *table, const char *name)
{
    uint32_t hash = hash_of(name);
    for (uint32_t at = hash & table->mask; table->places[at] != NULL; at = (at + 1) & table->mask) {
        name_node_t *node = table->places[at];
        if (node->hash == hash && strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}
