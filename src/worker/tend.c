/*
 * tend.c
 *		What a scheduler looks after besides refreshing: what factory.tend() does.
 */
#include "postgres.h"

#include "base/house.h"
#include "executor/spi.h"
#include "utils/timestamp.h"
#include "worker/worker_int.h"

TimestampTz
tend(void)
{
	TimestampTz next = DT_NOEND;
	HouseRights saved;
	bool isnull;

	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute("SELECT factory.tend()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look after the house");
	next = DatumGetTimestampTz(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	house_leave(&saved);
	return isnull ? DT_NOEND : next;
}
