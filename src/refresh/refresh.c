#include "postgres.h"

#include "refresh/refresh.h"

void
refresh_define_settings(void)
{
}
