/*
 * mask.c
 *		Personal data in a text, made unreadable before the text leaves the house.
 *
 * Numbers are found by their shape and by what makes them what they are: a date, a
 * check digit, separators.  Names are not found by their shape: every Korean word of
 * three syllables looks like one (불량률과, 보여줘).  A word counts as a name only
 * before 님 or 씨, or where it stands in front of a number or an address that was
 * masked; the fields that are known to hold names are the caller's matter.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/compat.h"
#include "base/settings.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "llm/llm.h"
#include "llm/llm_int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#define HANGUL_BYTES 3 /* of a syllable in UTF-8 */
#define NAME_MIN_SYLLABLES 2
#define NAME_MAX_SYLLABLES 4

static bool mask_pii;

static const Setting settings[] = {
	{"factory.llm_mask_pii",
	 "Enables masking personal data before a prompt leaves the house.", SETTING_BOOL,
	 &mask_pii, .boot = true, .context = PGC_SUSET,
	 .detail = "Inputs that a decision marks as pii, and in every prompt telephone and "
			   "identity numbers, cards, accounts, addresses and names."},
};

void
mask_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

bool
llm_masks_personal(void)
{
	return mask_pii;
}

/* --- numbers -------------------------------------------------------------------------------- */

/* "801201": a month and a day. */
static bool
is_birthday(const char *digits)
{
	int month = (digits[2] - '0') * 10 + digits[3] - '0';
	int day = (digits[4] - '0') * 10 + digits[5] - '0';

	return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

static bool
is_resident(const char *digits)
{
	return is_birthday(digits) && digits[6] >= '0' && digits[6] <= '9';
}

/* Without its hyphen thirteen digits may be a barcode: only a check digit tells. */
static bool
is_checked_resident(const char *digits)
{
	int sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (digits[i] - '0') * (i % 8 + 2);
	return is_resident(digits) && (11 - sum % 11) % 10 == digits[12] - '0';
}

/* Luhn's check digit. */
static bool
is_checked_card(const char *digits)
{
	int sum = 0;
	int length = strlen(digits);

	for (int i = 0; i < length; i++)
	{
		int digit = digits[length - 1 - i] - '0';

		if (i % 2 == 1)
			digit = digit < 5 ? digit * 2 : digit * 2 - 9;
		sum += digit;
	}
	return sum % 10 == 0;
}

/* A letter and eight digits, but no lot of a day: M12345678, not S20261126. */
static bool
is_passport(const char *digits)
{
	bool is_day =
		(digits[0] == '1' && digits[1] == '9') || (digits[0] == '2' && digits[1] == '0');

	return !is_day || !is_birthday(digits + 2);
}

/*
 * d is a digit, - a hyphen, blank or dot, L one of the passports' letters, all else
 * itself.  In the mask, k keeps what stands there.
 */
typedef struct Shape
{
	const char *shape;
	const char *mask;
	bool (*check)(const char *digits); /* or NULL */
} Shape;

static const Shape shapes[] = {
	{"dddd-dddd-dddd-dddd", "kkkkk****k****kkkkk", NULL},
	{"dddddddddddddddd", "kkkk********kkkk", is_checked_card},
	{"dddd-dddddd-ddddd", "kkkkk******kkkkkk", is_checked_card},
	{"dddddd-ddddddd", "kkkkkkk*******", is_resident},
	{"ddddddddddddd", "kkkkkk*******", is_checked_resident},
	{"+82-1d-dddd-dddd", "kkkkkkk****kkkkk", NULL},
	{"01d-dddd-dddd", "kkkk****kkkkk", NULL},
	{"01d-ddd-dddd", "kkkk***kkkkk", NULL},
	{"010dddddddd", "kkk****kkkk", NULL},
	{"02-dddd-dddd", "kkk****kkkkk", NULL},
	{"02-ddd-dddd", "kkk***kkkkk", NULL},
	{"03d-dddd-dddd", "kkkk****kkkkk", NULL},
	{"03d-ddd-dddd", "kkkk***kkkkk", NULL},
	{"04d-dddd-dddd", "kkkk****kkkkk", NULL},
	{"04d-ddd-dddd", "kkkk***kkkkk", NULL},
	{"05d-dddd-dddd", "kkkk****kkkkk", NULL},
	{"05d-ddd-dddd", "kkkk***kkkkk", NULL},
	{"06d-dddd-dddd", "kkkk****kkkkk", NULL},
	{"06d-ddd-dddd", "kkkk***kkkkk", NULL},
	{"070-dddd-dddd", "kkkk****kkkkk", NULL},
	{"dd-dd-dddddd-dd", "kkkkkk******kkk", NULL}, /* driving licence */
	{"ddd-ddd-dddddd", "kkkk***k******", NULL},   /* accounts */
	{"ddd-dd-dddddd", "kkkk**k******", NULL},
	{"ddd-dddddd-ddddd", "kkkk******k*****", NULL},
	{"dddddd-dd-dddddd", "kkkkkkk**k******", NULL},
	{"Ldddddddd", "k****kkkk", is_passport},
};

static bool
fits(char shape, char c)
{
	switch (shape)
	{
		case 'd':
			return isdigit((unsigned char) c);
		case '-':
			return c == '-' || c == ' ' || c == '.';
		case 'L':
			return c != '\0' && strchr("MSRODG", c) != NULL;
		default:
			return c == shape;
	}
}

/* Within a longer word or number it is none. */
static bool
ends_here(const char *c)
{
	if (isalnum((unsigned char) *c) || *c == '_')
		return false;
	return !((*c == '-' || *c == '.') && isalnum((unsigned char) c[1]));
}

static bool
shape_fits(const Shape *shape, const char *c)
{
	char digits[20];
	int count = 0;
	int i;

	for (i = 0; shape->shape[i] != '\0'; i++)
	{
		if (!fits(shape->shape[i], c[i]))
			return false;
		if (isdigit((unsigned char) c[i]))
			digits[count++] = c[i];
	}
	digits[count] = '\0';
	return ends_here(c + i) && (shape->check == NULL || shape->check(digits));
}

/* How many bytes were masked; 0: nothing personal begins here. */
static int
mask_number(StringInfo out, const char *c)
{
	if (!isdigit((unsigned char) *c) && *c != '+' && !isupper((unsigned char) *c))
		return 0;
	for (int i = 0; i < lengthof(shapes); i++)
	{
		if (!shape_fits(&shapes[i], c))
			continue;
		for (int at = 0; shapes[i].mask[at] != '\0'; at++)
			appendStringInfoChar(out, shapes[i].mask[at] == 'k' ? c[at] : '*');
		return strlen(shapes[i].mask);
	}
	return 0;
}

/* 192.168.0.7: four numbers up to 255 say less when two are hidden. */
static int
mask_address(StringInfo out, const char *c)
{
	int end = 0, second = 0;

	for (int part = 0; part < 4; part++)
	{
		int begin = end;
		int number = 0;

		while (isdigit((unsigned char) c[end]) && end - begin < 3)
			number = number * 10 + c[end++] - '0';
		if (end == begin || number > 255 || (part < 3 && c[end] != '.'))
			return 0;
		if (part < 3)
			end++;
		if (part == 1)
			second = end;
	}
	if (!ends_here(c + end))
		return 0;
	appendBinaryStringInfo(out, c, second);
	appendStringInfoString(out, "*.*");
	return end;
}

static bool
is_mail_char(char c)
{
	return isalnum((unsigned char) c) || (c != '\0' && strchr("._%+-", c) != NULL);
}

/* gildong@example.com: g***@example.com */
static int
mask_mail(StringInfo out, const char *c)
{
	int at = 0;
	int end;
	int dot = 0;

	while (is_mail_char(c[at]))
		at++;
	if (at == 0 || c[at] != '@')
		return 0;
	for (end = at + 1; isalnum((unsigned char) c[end]) || c[end] == '-' ||
					   (c[end] == '.' && isalnum((unsigned char) c[end + 1]));
		 end++)
		if (c[end] == '.')
			dot = end;
	if (dot == 0 || end - dot < 3)
		return 0;
	appendStringInfoChar(out, c[0]);
	appendStringInfoString(out, "***");
	appendBinaryStringInfo(out, c + at, end - at);
	return end;
}

static int
mask_personal_number(StringInfo out, const char *c)
{
	int length = mask_number(out, c);

	if (length == 0)
		length = mask_address(out, c);
	return length > 0 ? length : mask_mail(out, c);
}

/* --- names ------------------------------------------------------------------------------------- */

static const char *const surnames =
	"김이박최정강조윤장임한오서신권황안송류유홍전고문양손배백허남심노하곽성차주우구민진지"
	"엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국어은편용";

/* Words that stand before 님 or 씨, or before a number, and are no names. */
static const char *const no_names[] = {
	"고객",     "담당자", "작업자", "관리자", "책임자", "감독자", "반장",   "조장",
	"팀장",     "과장",   "부장",   "차장",   "대리",   "사원",   "사장",   "회장",
	"이사",     "상무",   "전무",   "주임",   "선생",   "기사",   "부모",   "어머",
	"아버",     "여러분", "원장",   "소장",   "공장장", "연락처", "이메일", "전화",
	"번호",     "주소",   "계좌",   "은행",   "여권",   "면허",   "지점",   "전화번호",
	"주민번호", "아저",   "아가",   "도련",   "임원",   "조합원", "기술자", "유선",
	"공용",     "문의",   "전용선", "구매처", "제조사", "고객사", "공급사", "장비",
};

/* 날씨, 글씨, 솜씨: words of their own, not people. */
static const char *const before_ssi = "날글솜불말맘음홀";

static bool
is_hangul(const char *c)
{
	const unsigned char *u = (const unsigned char *) c;
	int code;

	if ((u[0] & 0xf0) != 0xe0 || u[1] == '\0' || u[2] == '\0')
		return false;
	code = (u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f);
	return code >= 0xac00 && code <= 0xd7a3;
}

static int
hangul_run(const char *c)
{
	int syllables = 0;

	while (is_hangul(c + syllables * HANGUL_BYTES))
		syllables++;
	return syllables;
}

static bool
is_one_of(const char *syllable, const char *all)
{
	for (const char *one = all; *one; one += HANGUL_BYTES)
		if (memcmp(one, syllable, HANGUL_BYTES) == 0)
			return true;
	return false;
}

static bool
may_be_name(const char *c, int syllables)
{
	if (syllables < NAME_MIN_SYLLABLES || syllables > NAME_MAX_SYLLABLES ||
		!is_one_of(c, surnames))
		return false;
	for (int i = 0; i < lengthof(no_names); i++)
		if (strlen(no_names[i]) == syllables * HANGUL_BYTES &&
			memcmp(no_names[i], c, syllables * HANGUL_BYTES) == 0)
			return false;
	return true;
}

/* 홍길동: 홍*동 */
static void
put_name(StringInfo out, const char *c, int syllables)
{
	appendBinaryStringInfo(out, c, HANGUL_BYTES);
	for (int i = 0; i < Max(syllables - 2, 1); i++)
		appendStringInfoChar(out, '*');
	if (syllables > 2)
		appendBinaryStringInfo(out, c + (syllables - 1) * HANGUL_BYTES, HANGUL_BYTES);
}

static bool
is_honorific(const char *c)
{
	return strncmp(c, "님", HANGUL_BYTES) == 0 || strncmp(c, "씨", HANGUL_BYTES) == 0;
}

/* What is left after 님 or 씨 is a particle: 님께서, 씨가, 씨에게. */
#define PARTICLE_MAX_SYLLABLES 3

/* The syllables of a name that 님 or 씨 follows, after a blank or at once; 0: none. */
static int
name_before_honorific(const char *c, int run)
{
	const char *end = c + run * HANGUL_BYTES;

	if (*end == ' ' && is_honorific(end + 1) &&
		hangul_run(end + 1) <= PARTICLE_MAX_SYLLABLES + 1)
		return run;
	for (int i = NAME_MIN_SYLLABLES; i < run && i <= NAME_MAX_SYLLABLES; i++)
	{
		const char *mark = c + i * HANGUL_BYTES;

		if (is_honorific(mark) && run - i - 1 <= PARTICLE_MAX_SYLLABLES &&
			!is_one_of(mark - HANGUL_BYTES, before_ssi))
			return i;
	}
	return 0;
}

/* Whether a number or an address that is masked follows: 홍길동(010-1234-5678). */
static bool
stands_before_number(const char *c)
{
	StringInfoData scratch;
	int gap = 0;
	bool result;

	while (gap < 3 && c[gap] != '\0' && strchr(" ,:(/<", c[gap]) != NULL)
		gap++;
	if (gap == 0)
		return false;
	initStringInfo(&scratch);
	result = mask_personal_number(&scratch, c + gap) > 0;
	pfree(scratch.data);
	return result;
}

/* How many bytes of this run of Hangul are written; the caller stands at its begin. */
static int
mask_name(StringInfo out, const char *c)
{
	int run = hangul_run(c);
	int syllables = name_before_honorific(c, run);

	if (syllables == 0 && run == 3 && stands_before_number(c + run * HANGUL_BYTES))
		syllables = run;
	if (syllables > 0 && may_be_name(c, syllables))
	{
		put_name(out, c, syllables);
		c += syllables * HANGUL_BYTES;
		run -= syllables;
		appendBinaryStringInfo(out, c, run * HANGUL_BYTES);
		return (syllables + run) * HANGUL_BYTES;
	}
	appendBinaryStringInfo(out, c, run * HANGUL_BYTES);
	return run * HANGUL_BYTES;
}

/* --- the door ------------------------------------------------------------------------------------ */

/* A number may begin here, seen from the character before. */
static bool
begins_here(const char *text, const char *c)
{
	return c == text || !(isalnum((unsigned char) c[-1]) || c[-1] == '_' ||
						  c[-1] == '-' || (c[-1] == '.' && isdigit((unsigned char) *c)));
}

char *
llm_mask_personal(const char *text)
{
	const char *c = text;
	bool utf8 = GetDatabaseEncoding() == PG_UTF8;
	StringInfoData out;

	initStringInfo(&out);
	while (*c)
	{
		int length = 0;

		if (utf8 && is_hangul(c))
			length = mask_name(&out, c);
		else if (!IS_HIGHBIT_SET(*c) && begins_here(text, c))
			length = mask_personal_number(&out, c);
		if (length == 0)
		{
			length = pg_mblen(c);
			appendBinaryStringInfo(&out, c, length);
		}
		c += length;
	}
	return out.data;
}

/* Fields that hold people's names, whatever they look like. */
static const char *const name_fields[] = {
	"operator",      "operator_name", "supervisor",  "supervisor_name", "customer",
	"customer_name", "worker",        "worker_name", "employee",        "employee_name",
	"작업자",        "작업자명",      "담당자",      "담당자명",        "이름",
	"성명",          "고객명"};

bool
llm_field_is_name(const char *field)
{
	for (int i = 0; i < lengthof(name_fields); i++)
		if (pg_strcasecmp(name_fields[i], field) == 0)
			return true;
	return false;
}

char *
llm_mask_name(const char *name)
{
	StringInfoData out;
	int run = GetDatabaseEncoding() == PG_UTF8 ? hangul_run(name) : 0;

	initStringInfo(&out);
	if (name[0] == '\0')
		return out.data;
	if (run >= NAME_MIN_SYLLABLES && name[run * HANGUL_BYTES] == '\0')
		put_name(&out, name, run);
	else
	{
		appendBinaryStringInfo(&out, name, pg_mblen(name));
		appendStringInfoString(&out, "***");
	}
	return out.data;
}

FACTORY_FUNCTION(factory_mask_pii);

Datum
factory_mask_pii(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(llm_mask_personal(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}
