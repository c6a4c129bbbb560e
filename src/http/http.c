#include "postgres.h"

#include "http/http.h"

void
http_define_settings(void)
{
}
