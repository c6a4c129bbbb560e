#include "postgres.h"

#include "bi/bi.h"

void
bi_define_settings(void)
{
}
