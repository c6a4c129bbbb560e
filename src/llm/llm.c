#include "postgres.h"

#include "llm/llm.h"

void
llm_define_settings(void)
{
}
