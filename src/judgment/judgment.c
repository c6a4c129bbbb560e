#include "postgres.h"

#include "judgment/judgment.h"

void
judgment_define_settings(void)
{
}
