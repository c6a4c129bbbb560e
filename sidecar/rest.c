#include "rest.h"
void
rest_free(struct Rest *rest)
{
	(void) rest;
}
