/*
 * rule_index.c
 *		Which rules a set of inputs leaves standing, without evaluating them.
 *
 * A condition is an AND of parts.  A part that compares one column with constants
 * is a *test*; what a test allows is a range or a set of 64-bit keys.  Integers,
 * times and booleans are their own keys, floats are mapped to integers of the same
 * order, texts to their place in a dictionary of the constants that occur.
 *
 * For each column the keys are cut into segments, and each segment has a bitmap of
 * the rules that may stand there.  One look-up a column and an AND of bitmaps leave
 * few rules; their tests are then checked one by one, so segments may be coarse:
 * memory is bounded by INDEX_MAX_SEGMENTS bits a rule and column, however many
 * constants there are.
 *
 * A rule that fails a test fails, whatever its other parts are: the interpreter
 * gives the same answer, since conditions are put in an order in which tests, which
 * cannot raise, come first (expression.c).  A test of a NULL is NULL: the rule stays
 * open and is evaluated, for a NULL condition is undecided and must say why.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "judgment/rule_index.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include <math.h>

#define INDEX_MAX_SEGMENTS 256

bool rule_index_enabled = true;

typedef enum KeyForm
{
	KEY_NONE, /* no tests on columns of this type */
	KEY_INT2,
	KEY_INT4,
	KEY_INT8,
	KEY_FLOAT4,
	KEY_FLOAT8,
	KEY_BOOL,
	KEY_DATE,
	KEY_TIMESTAMP,
	KEY_TEXT /* equality only */
} KeyForm;

static const struct
{
	Oid type;
	KeyForm form;
} key_forms[] = {
	{INT2OID, KEY_INT2},
	{INT4OID, KEY_INT4},
	{INT8OID, KEY_INT8},
	{FLOAT4OID, KEY_FLOAT4},
	{FLOAT8OID, KEY_FLOAT8},
	{BOOLOID, KEY_BOOL},
	{DATEOID, KEY_DATE},
	{TIMESTAMPOID, KEY_TIMESTAMP},
	{TIMESTAMPTZOID, KEY_TIMESTAMP},
	{TEXTOID, KEY_TEXT},
	{VARCHAROID, KEY_TEXT},
};

typedef enum TestKind
{
	TEST_RANGE, /* low <= key <= high */
	TEST_SET,   /* key is a member */
	TEST_NOT,   /* key <> low */
	TEST_IS_NULL,
	TEST_NOT_NULL
} TestKind;

typedef struct Test
{
	int column; /* in RuleIndex.columns */
	TestKind kind;
	int64 low;
	int64 high;
	int64 *members; /* ascending */
	int count;
} Test;

typedef struct RuleTests
{
	List *tests; /* of Test *, while building */
	Test **test;
	int count;
	bool complete; /* the tests are the whole condition */
} RuleTests;

/* A text that occurs as a constant; its key is its place. */
typedef struct Word
{
	const char *data;
	int length;
} Word;

typedef struct IndexColumn
{
	int attno;
	KeyForm form;
	List *words; /* of Word *: KEY_TEXT, in the order of their keys */
	Word **sorted_words;
	int *sorted_keys;
	int segment_count;
	int64 *starts;     /* first key of each segment, ascending */
	uint64 **standing; /* per segment: rules that may stand */
	uint64 *standing_null;
} IndexColumn;

typedef struct RuleIndex
{
	IndexColumn *columns;
	int column_count;
	RuleTests *rules;
	int word_count; /* of one bitmap */
	Size bytes;

	/* the inputs taken in last */
	int64 *keys;
	bool *nulls;
	uint64 *left; /* rules that may stand in all columns */
} RuleIndex;

/* --- keys ----------------------------------------------------------------------------- */

static KeyForm
key_form(Oid type)
{
	for (int i = 0; i < lengthof(key_forms); i++)
		if (key_forms[i].type == type)
			return key_forms[i].form;
	return KEY_NONE;
}

/* The order of float8 as PostgreSQL has it: -0 equals 0, NaN is above infinity. */
static int64
key_of_float(float8 value)
{
	int64 bits;

	if (isnan(value))
		return PG_INT64_MAX;
	if (value == 0)
		value = 0;
	memcpy(&bits, &value, sizeof(bits));
	return bits >= 0 ? bits : (int64) (PG_INT64_MIN - (uint64) bits);
}

static int
compare_words(const Word *one, const Word *other)
{
	if (one->length != other->length)
		return one->length < other->length ? -1 : 1;
	return memcmp(one->data, other->data, one->length);
}

/* The key of a text; -1 where it is no constant of any rule. */
static int64
key_of_word(const IndexColumn *column, const Word *word)
{
	int low = 0, high = list_length(column->words) - 1;

	while (low <= high)
	{
		int middle = (low + high) / 2;
		int order = compare_words(word, column->sorted_words[middle]);

		if (order == 0)
			return column->sorted_keys[middle];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return -1;
}

static int64
key_of_text(const IndexColumn *column, Datum value)
{
	text *packed = DatumGetTextPP(value);
	Word word = {VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed)};

	return key_of_word(column, &word);
}

/* The key of a value of a type that has the given form; texts are not meant here. */
static int64
key_of_value(KeyForm form, Datum value)
{
	switch (form)
	{
		case KEY_INT2:
			return DatumGetInt16(value);
		case KEY_INT4:
			return DatumGetInt32(value);
		case KEY_INT8:
			return DatumGetInt64(value);
		case KEY_FLOAT4:
			return key_of_float(DatumGetFloat4(value));
		case KEY_FLOAT8:
			return key_of_float(DatumGetFloat8(value));
		case KEY_BOOL:
			return DatumGetBool(value) ? 1 : 0;
		case KEY_DATE:
			return DatumGetDateADT(value);
		case KEY_TIMESTAMP:
			return DatumGetTimestamp(value);
		default:
			elog(ERROR, "unexpected key form %d", (int) form);
			return 0;
	}
}

static bool
is_float(KeyForm form)
{
	return form == KEY_FLOAT4 || form == KEY_FLOAT8;
}

static bool
is_integer(KeyForm form)
{
	return form == KEY_INT2 || form == KEY_INT4 || form == KEY_INT8;
}

/*
 * May a column of one type be compared with a constant of another by their keys?
 * Times must be of the very same type: others depend on the time zone.
 */
static bool
keys_are_comparable(Oid column, Oid constant)
{
	KeyForm one = key_form(column);
	KeyForm other = key_form(constant);

	if (one == KEY_NONE || other == KEY_NONE)
		return false;
	return column == constant || (is_integer(one) && is_integer(other)) ||
		   (is_float(one) && is_float(other)) || (one == KEY_TEXT && other == KEY_TEXT);
}

/* --- from conditions to tests ------------------------------------------------------------ */

static IndexColumn *
index_column(RuleIndex *index, int attno, KeyForm form)
{
	IndexColumn *column;

	for (int i = 0; i < index->column_count; i++)
		if (index->columns[i].attno == attno)
			return &index->columns[i];
	column = &index->columns[index->column_count++];
	memset(column, 0, sizeof(*column));
	column->attno = attno;
	column->form = form;
	return column;
}

/* A constant's key; a text that is new gets the next place. */
static int64
key_of_constant(IndexColumn *column, Oid type, Datum value)
{
	text *packed;
	Word word;
	Word *added;
	ListCell *cell;

	if (column->form != KEY_TEXT)
		return key_of_value(key_form(type), value);
	packed = DatumGetTextPP(value);
	word.data = VARDATA_ANY(packed);
	word.length = VARSIZE_ANY_EXHDR(packed);
	foreach (cell, column->words)
		if (compare_words(lfirst(cell), &word) == 0)
			return foreach_current_index(cell);
	added = palloc(sizeof(Word));
	added->data = pnstrdup(word.data, word.length);
	added->length = word.length;
	column->words = lappend(column->words, added);
	return list_length(column->words) - 1;
}

static Node *
without_relabel(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The column behind a node, if it is one that can have tests. */
static Var *
column_of(const Decision *decision, Node *node)
{
	Var *var = (Var *) without_relabel(node);

	if (var == NULL || !IsA(var, Var) || var->varattno == DECISION_TIME_ATTNO(decision) ||
		key_form(var->vartype) == KEY_NONE)
		return NULL;
	return var;
}

static Test *
new_test(RuleIndex *index, const Var *var, TestKind kind)
{
	Test *test = palloc0(sizeof(Test));
	IndexColumn *column = index_column(index, var->varattno, key_form(var->vartype));

	test->column = column - index->columns;
	test->kind = kind;
	test->low = PG_INT64_MIN;
	test->high = PG_INT64_MAX;
	return test;
}

/* Bounds of "key op constant"; false where nothing can match or it is no such op. */
static bool
set_range(Test *test, int strategy, int64 key)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			test->high = key - 1;
			return key != PG_INT64_MIN;
		case BTLessEqualStrategyNumber:
			test->high = key;
			return true;
		case BTEqualStrategyNumber:
			test->low = test->high = key;
			return true;
		case BTGreaterEqualStrategyNumber:
			test->low = key;
			return true;
		case BTGreaterStrategyNumber:
			test->low = key + 1;
			return key != PG_INT64_MAX;
		case COMPAT_NOT_EQUAL_STRATEGY:
			test->kind = TEST_NOT;
			test->low = key;
			return true;
		default:
			return false;
	}
}

static bool
text_is_indexable(int strategy, Oid collation)
{
	return (strategy == BTEqualStrategyNumber || strategy == COMPAT_NOT_EQUAL_STRATEGY) &&
		   OidIsValid(collation) && get_collation_isdeterministic(collation);
}

static int
mirrored(int strategy)
{
	static const int mirror[] = {0, 5, 4, 3, 2, 1, COMPAT_NOT_EQUAL_STRATEGY};

	return mirror[strategy];
}

/* column op constant, or constant op column. */
static Test *
test_of_operator(const Decision *decision, RuleIndex *index, OpExpr *op)
{
	int strategy = compat_operator_strategy(op->opno);
	Node *left, *right;
	Var *var;
	Const *constant;
	Test *test;

	if (strategy == 0 || list_length(op->args) != 2)
		return NULL;
	left = linitial(op->args);
	right = without_relabel(lsecond(op->args));
	var = column_of(decision, left);
	if (var == NULL)
	{
		var = column_of(decision, lsecond(op->args));
		right = without_relabel(left);
		strategy = mirrored(strategy);
	}
	constant = (Const *) right;
	if (var == NULL || !IsA(constant, Const) || constant->constisnull ||
		!keys_are_comparable(var->vartype, constant->consttype) ||
		(key_form(var->vartype) == KEY_TEXT &&
		 !text_is_indexable(strategy, op->inputcollid)))
		return NULL;
	test = new_test(index, var, TEST_RANGE);
	return set_range(test, strategy,
					 key_of_constant(&index->columns[test->column], constant->consttype,
									 constant->constvalue))
			   ? test
			   : NULL;
}

static int
compare_keys(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* column IN (constants): = ANY of an array without NULLs. */
static Test *
test_of_list(const Decision *decision, RuleIndex *index, ScalarArrayOpExpr *op)
{
	Var *var = column_of(decision, linitial(op->args));
	Const *constant = (Const *) without_relabel(lsecond(op->args));
	ArrayType *array;
	Oid type;
	int16 length;
	bool by_value;
	char align;
	Datum *values;
	bool *nulls;
	Test *test;

	if (var == NULL || !op->useOr || !IsA(constant, Const) || constant->constisnull ||
		compat_operator_strategy(op->opno) != BTEqualStrategyNumber)
		return NULL;
	array = DatumGetArrayTypeP(constant->constvalue);
	type = ARR_ELEMTYPE(array);
	if (array_contains_nulls(array) || !keys_are_comparable(var->vartype, type) ||
		(key_form(type) == KEY_TEXT &&
		 !text_is_indexable(BTEqualStrategyNumber, op->inputcollid)))
		return NULL;
	test = new_test(index, var, TEST_SET);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &values, &nulls,
					  &test->count);
	test->members = palloc(sizeof(int64) * Max(test->count, 1));
	for (int i = 0; i < test->count; i++)
		test->members[i] =
			key_of_constant(&index->columns[test->column], type, values[i]);
	qsort(test->members, test->count, sizeof(int64), compare_keys);
	return test;
}

/* A boolean column by itself, or denied. */
static Test *
test_of_boolean(const Decision *decision, RuleIndex *index, Node *node)
{
	bool wanted = true;
	Var *var;
	Test *test;

	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == NOT_EXPR)
	{
		wanted = false;
		node = linitial(((BoolExpr *) node)->args);
	}
	var = column_of(decision, node);
	if (var == NULL || var->vartype != BOOLOID)
		return NULL;
	test = new_test(index, var, TEST_RANGE);
	test->low = test->high = wanted ? 1 : 0;
	return test;
}

static Test *
test_of_null(const Decision *decision, RuleIndex *index, NullTest *node)
{
	Var *var = column_of(decision, (Node *) node->arg);

	if (var == NULL || node->argisrow)
		return NULL;
	return new_test(index, var,
					node->nulltesttype == IS_NULL ? TEST_IS_NULL : TEST_NOT_NULL);
}

static Test *
test_of_part(const Decision *decision, RuleIndex *index, Node *part)
{
	switch (nodeTag(part))
	{
		case T_OpExpr:
			return test_of_operator(decision, index, (OpExpr *) part);
		case T_ScalarArrayOpExpr:
			return test_of_list(decision, index, (ScalarArrayOpExpr *) part);
		case T_NullTest:
			return test_of_null(decision, index, (NullTest *) part);
		case T_Var:
		case T_BoolExpr:
			return test_of_boolean(decision, index, part);
		default:
			return NULL;
	}
}

static void
collect_tests(const Decision *decision, RuleIndex *index, const Rule *rule,
			  RuleTests *tests)
{
	List *parts = make_ands_implicit(rule->when.expr);
	ListCell *cell;

	tests->complete = true;
	foreach (cell, parts)
	{
		Test *test = test_of_part(decision, index, lfirst(cell));

		if (test == NULL)
			tests->complete = false;
		else
			tests->tests = lappend(tests->tests, test);
	}
	tests->count = list_length(tests->tests);
	tests->test = palloc(sizeof(Test *) * Max(tests->count, 1));
	foreach (cell, tests->tests)
		tests->test[foreach_current_index(cell)] = lfirst(cell);
}

/* --- segments and bitmaps ----------------------------------------------------------------- */

typedef struct KeyList
{
	int64 *keys;
	int count;
	int room;
} KeyList;

static void
add_key(KeyList *list, int64 key)
{
	if (list->count == list->room)
	{
		list->room = Max(64, list->room * 2);
		list->keys = list->keys ? repalloc(list->keys, sizeof(int64) * list->room)
								: palloc(sizeof(int64) * list->room);
	}
	list->keys[list->count++] = key;
}

/* A segment begins where a test begins to hold, or ceases to. */
static void
add_starts(KeyList *starts, const Test *test)
{
	int64 after;

	switch (test->kind)
	{
		case TEST_RANGE:
			add_key(starts, test->low);
			if (!pg_add_s64_overflow(test->high, 1, &after))
				add_key(starts, after);
			break;
		case TEST_SET:
			for (int i = 0; i < test->count; i++)
			{
				add_key(starts, test->members[i]);
				if (!pg_add_s64_overflow(test->members[i], 1, &after))
					add_key(starts, after);
			}
			break;
		default:
			break;
	}
}

/* Sorted, without doubles, and thinned out where they are too many. */
static void
make_segments(RuleIndex *index, IndexColumn *column, int rule_count)
{
	KeyList starts = {NULL, 0, 0};
	int kept = 0;
	int step;

	add_key(&starts, PG_INT64_MIN);
	for (int i = 0; i < rule_count; i++)
		for (int j = 0; j < index->rules[i].count; j++)
			if (&index->columns[index->rules[i].test[j]->column] == column)
				add_starts(&starts, index->rules[i].test[j]);
	qsort(starts.keys, starts.count, sizeof(int64), compare_keys);
	for (int i = 0; i < starts.count; i++)
		if (i == 0 || starts.keys[i] != starts.keys[kept - 1])
			starts.keys[kept++] = starts.keys[i];
	step = (kept + INDEX_MAX_SEGMENTS - 1) / INDEX_MAX_SEGMENTS;
	column->segment_count = (kept + step - 1) / step;
	column->starts = palloc(sizeof(int64) * column->segment_count);
	for (int i = 0; i < column->segment_count; i++)
		column->starts[i] = starts.keys[i * step];
	pfree(starts.keys);
}

static int
segment_of(const IndexColumn *column, int64 key)
{
	int low = 0, high = column->segment_count - 1;

	while (low < high)
	{
		int middle = (low + high + 1) / 2;

		if (column->starts[middle] <= key)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static void
clear_rule(uint64 *bitmap, int rule)
{
	bitmap[rule / 64] &= ~(UINT64CONST(1) << (rule % 64));
}

/* Takes the rule out of the segments in which the test can hold nowhere. */
static void
clear_segments(IndexColumn *column, const Test *test, int rule)
{
	int first = 0, last = column->segment_count - 1;

	switch (test->kind)
	{
		case TEST_IS_NULL:
			first = column->segment_count;
			break;
		case TEST_NOT_NULL:
			clear_rule(column->standing_null, rule);
			return;
		case TEST_RANGE:
			first = test->low <= test->high ? segment_of(column, test->low)
											: column->segment_count;
			last = segment_of(column, test->high);
			break;
		case TEST_SET:
			for (int segment = 0, member = 0; segment < column->segment_count; segment++)
			{
				bool is_last = segment == column->segment_count - 1;

				while (member < test->count &&
					   test->members[member] < column->starts[segment])
					member++;
				if (member == test->count ||
					(!is_last && test->members[member] >= column->starts[segment + 1]))
					clear_rule(column->standing[segment], rule);
			}
			return;
		case TEST_NOT:
			return;
	}
	for (int segment = 0; segment < column->segment_count; segment++)
		if (segment < first || segment > last)
			clear_rule(column->standing[segment], rule);
}

static uint64 *
full_bitmap(RuleIndex *index)
{
	uint64 *bitmap = palloc(sizeof(uint64) * index->word_count);

	memset(bitmap, 0xff, sizeof(uint64) * index->word_count);
	index->bytes += sizeof(uint64) * index->word_count;
	return bitmap;
}

static int
compare_word_places(const void *a, const void *b, void *words)
{
	return compare_words(list_nth(words, *(const int *) a),
						 list_nth(words, *(const int *) b));
}

static void
sort_words(IndexColumn *column)
{
	int count = list_length(column->words);

	column->sorted_keys = palloc(sizeof(int) * Max(count, 1));
	column->sorted_words = palloc(sizeof(Word *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		column->sorted_keys[i] = i;
	qsort_arg(column->sorted_keys, count, sizeof(int), compare_word_places,
			  column->words);
	for (int i = 0; i < count; i++)
		column->sorted_words[i] = list_nth(column->words, column->sorted_keys[i]);
}

static void
fill_column(RuleIndex *index, IndexColumn *column, int rule_count)
{
	make_segments(index, column, rule_count);
	column->standing = palloc(sizeof(uint64 *) * column->segment_count);
	for (int i = 0; i < column->segment_count; i++)
		column->standing[i] = full_bitmap(index);
	column->standing_null = full_bitmap(index);
	for (int i = 0; i < rule_count; i++)
		for (int j = 0; j < index->rules[i].count; j++)
			if (&index->columns[index->rules[i].test[j]->column] == column)
				clear_segments(column, index->rules[i].test[j], i);
	sort_words(column);
}

void
rule_index_build(Decision *decision)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	RuleIndex *index = palloc0(sizeof(RuleIndex));
	int columns = decision->input_count + decision->let_count;

	index->columns = palloc(sizeof(IndexColumn) * Max(columns, 1));
	index->rules = palloc0(sizeof(RuleTests) * Max(decision->rule_count, 1));
	index->word_count = (decision->rule_count + 63) / 64;
	for (int i = 0; i < decision->rule_count; i++)
		collect_tests(decision, index, &decision->rules[i], &index->rules[i]);
	for (int i = 0; i < index->column_count; i++)
		fill_column(index, &index->columns[i], decision->rule_count);
	index->keys = palloc(sizeof(int64) * Max(index->column_count, 1));
	index->nulls = palloc(sizeof(bool) * Max(index->column_count, 1));
	index->left = palloc(sizeof(uint64) * Max(index->word_count, 1));
	decision->index = index;
	MemoryContextSwitchTo(caller);
}

Size
rule_index_size(const Decision *decision)
{
	return decision->index->bytes;
}

/* --- asking ------------------------------------------------------------------------------- */

static const uint64 *
standing_in_column(const Decision *decision, int number)
{
	RuleIndex *index = decision->index;
	const IndexColumn *column = &index->columns[number];
	Datum value = decision->slot->tts_values[column->attno - 1];

	index->nulls[number] = decision->slot->tts_isnull[column->attno - 1];
	if (index->nulls[number])
		return column->standing_null;
	index->keys[number] = column->form == KEY_TEXT ? key_of_text(column, value)
												   : key_of_value(column->form, value);
	return column->standing[segment_of(column, index->keys[number])];
}

void
rule_index_load(Decision *decision)
{
	RuleIndex *index = decision->index;

	memset(index->left, 0xff, sizeof(uint64) * index->word_count);
	for (int i = 0; i < index->column_count; i++)
	{
		const uint64 *standing = standing_in_column(decision, i);

		for (int word = 0; word < index->word_count; word++)
			index->left[word] &= standing[word];
	}
}

static bool
set_has(const Test *test, int64 key)
{
	return bsearch(&key, test->members, test->count, sizeof(int64), compare_keys) != NULL;
}

/* A test of a key; NULLs are the caller's. */
static bool
test_holds(const Test *test, int64 key)
{
	switch (test->kind)
	{
		case TEST_RANGE:
			return test->low <= key && key <= test->high;
		case TEST_SET:
			return set_has(test, key);
		case TEST_NOT:
			return key != test->low;
		case TEST_NOT_NULL:
			return true;
		case TEST_IS_NULL:
			return false;
	}
	return false;
}

static RuleStanding
check_rule(const RuleIndex *index, const RuleTests *rule)
{
	bool open = !rule->complete;

	for (int i = 0; i < rule->count; i++)
	{
		const Test *test = rule->test[i];

		if (!index->nulls[test->column])
		{
			if (!test_holds(test, index->keys[test->column]))
				return RULE_FAILS;
		}
		else if (test->kind == TEST_NOT_NULL)
			return RULE_FAILS;
		else if (test->kind != TEST_IS_NULL)
			open = true;
	}
	return open ? RULE_OPEN : RULE_HOLDS;
}

int
rule_index_next(const Decision *decision, int from, RuleStanding *standing)
{
	const RuleIndex *index = decision->index;
	uint64 mask = from % 64 == 0 ? ~UINT64CONST(0) : ~UINT64CONST(0) << (from % 64);

	for (int word = from / 64; word < index->word_count; word++, mask = ~UINT64CONST(0))
	{
		uint64 bits = index->left[word] & mask;

		while (bits != 0)
		{
			int rule = word * 64 + pg_rightmost_one_pos64(bits);

			if (rule >= decision->rule_count)
				return -1;
			*standing = check_rule(index, &index->rules[rule]);
			if (*standing != RULE_FAILS)
				return rule;
			bits &= bits - 1;
		}
	}
	return -1;
}
