#include "mail/charset_names.h"

#define NAME_MAX_LEN 40

#define GUESS(alias)                                                                                                   \
	{                                                                                                              \
		alias, MAIL_CHARSET_GUESS, NULL, 1, false, false                                                       \
	}
#define UTF8(alias)                                                                                                    \
	{                                                                                                              \
		alias, MAIL_CHARSET_UTF8, NULL, 1, false, false                                                        \
	}
#define LATIN(alias)                                                                                                   \
	{                                                                                                              \
		alias, MAIL_CHARSET_WINDOWS_1252, NULL, 1, false, false                                                \
	}
#define BYTES(alias, name)                                                                                             \
	{                                                                                                              \
		alias, MAIL_CHARSET_ICONV, name, 1, false, false                                                       \
	}
#define MARKS(alias, name)                                                                                             \
	{                                                                                                              \
		alias, MAIL_CHARSET_ICONV, name, 1, false, true                                                        \
	}
#define MULTI(alias, name)                                                                                             \
	{                                                                                                              \
		alias, MAIL_CHARSET_ICONV, name, 1, true, false                                                        \
	}
#define UNITS(alias, name, unit)                                                                                       \
	{                                                                                                              \
		alias, MAIL_CHARSET_ICONV, name, unit, false, false                                                    \
	}

/* A label means the largest superset that senders put behind it, as in the WHATWG
 * Encoding standard: what is labelled ISO-8859-1, GB2312, KS C 5601 or Shift_JIS is
 * in truth Windows-1252, GB18030, CP949 or CP932. "windows-", "ibm" and "cp-" are
 * "cp" here, and "iso8859-" is "iso-8859-" (see normalize()). */
static const struct mail_charset_name names[] = {
	UTF8("utf-8"),
	UTF8("utf8"),
	UTF8("utf8mb4"),
	UTF8("unicode-1-1-utf-8"),
	UTF8("unicode-2-0-utf-8"),
	UTF8("unicode11utf8"),
	UTF8("cp65001"),
	GUESS(""),
	GUESS("us-ascii"),
	GUESS("ascii"),
	GUESS("us"),
	GUESS("ascii-8bit"),
	GUESS("usascii"),
	GUESS("ansi-x3.4-1968"),
	GUESS("ansi-x3.4-1986"),
	GUESS("ansi"),
	GUESS("iso-ir-6"),
	GUESS("iso646-us"),
	GUESS("iso-646.irv"),
	GUESS("646"),
	GUESS("cp367"),
	GUESS("unknown"),
	GUESS("unknown-8bit"),
	GUESS("unknown-8-bit"),
	GUESS("unknown8bit"),
	GUESS("user-defined"),
	GUESS("default"),
	GUESS("default-charset"),
	GUESS("none"),
	GUESS("nil"),
	GUESS("null"),
	GUESS("7bit"),
	GUESS("8bit"),
	GUESS("8-bit"),
	GUESS("binary"),
	LATIN("iso-8859-1"),
	LATIN("iso-ir-100"),
	LATIN("latin1"),
	LATIN("latin-1"),
	LATIN("l1"),
	LATIN("isolatin1"),
	LATIN("cp819"),
	LATIN("cp1252"),
	LATIN("cp1004"),
	BYTES("iso-8859-2", "ISO-8859-2"),
	BYTES("latin2", "ISO-8859-2"),
	BYTES("isolatin2", "ISO-8859-2"),
	BYTES("iso-8859-3", "ISO-8859-3"),
	BYTES("latin3", "ISO-8859-3"),
	BYTES("iso-8859-4", "ISO-8859-4"),
	BYTES("latin4", "ISO-8859-4"),
	BYTES("iso-8859-5", "ISO-8859-5"),
	BYTES("cyrillic", "ISO-8859-5"),
	BYTES("iso-8859-6", "ISO-8859-6"),
	BYTES("iso-8859-6-i", "ISO-8859-6"),
	BYTES("iso-8859-6-e", "ISO-8859-6"),
	BYTES("arabic", "ISO-8859-6"),
	BYTES("iso-8859-7", "ISO-8859-7"),
	BYTES("greek", "ISO-8859-7"),
	BYTES("iso-8859-8", "ISO-8859-8"),
	BYTES("iso-8859-8-i", "ISO-8859-8"),
	BYTES("iso-8859-8-e", "ISO-8859-8"),
	BYTES("hebrew", "ISO-8859-8"),
	BYTES("iso-8859-9", "CP1254"),
	BYTES("latin5", "CP1254"),
	BYTES("iso-8859-10", "ISO-8859-10"),
	BYTES("latin6", "ISO-8859-10"),
	BYTES("iso-8859-11", "CP874"),
	BYTES("tis-620", "CP874"),
	BYTES("tis620", "CP874"),
	BYTES("iso-8859-13", "ISO-8859-13"),
	BYTES("iso-8859-14", "ISO-8859-14"),
	BYTES("iso-8859-15", "ISO-8859-15"),
	BYTES("latin9", "ISO-8859-15"),
	BYTES("latin-9", "ISO-8859-15"),
	BYTES("iso-8859-16", "ISO-8859-16"),
	BYTES("koi8-r", "KOI8-R"),
	BYTES("koi8r", "KOI8-R"),
	BYTES("koi8", "KOI8-R"),
	BYTES("koi8-u", "KOI8-U"),
	BYTES("koi8u", "KOI8-U"),
	BYTES("koi8-ru", "KOI8-RU"),
	BYTES("koi8-t", "KOI8-T"),
	BYTES("cp874", "CP874"),
	BYTES("cp1250", "CP1250"),
	BYTES("cp1251", "CP1251"),
	BYTES("cp1253", "CP1253"),
	BYTES("cp1254", "CP1254"),
	MARKS("cp1255", "CP1255"),
	BYTES("cp1256", "CP1256"),
	BYTES("cp1257", "CP1257"),
	MARKS("cp1258", "CP1258"),
	MARKS("tcvn", "TCVN"),
	MARKS("tcvn-5712", "TCVN"),
	BYTES("viscii", "VISCII"),
	BYTES("armscii-8", "ARMSCII-8"),
	BYTES("pt154", "PT154"),
	BYTES("cp437", "CP437"),
	BYTES("cp737", "CP737"),
	BYTES("cp775", "CP775"),
	BYTES("cp850", "CP850"),
	BYTES("cp852", "CP852"),
	BYTES("cp855", "CP855"),
	BYTES("cp857", "CP857"),
	BYTES("cp858", "CP858"),
	BYTES("cp860", "CP860"),
	BYTES("cp861", "CP861"),
	BYTES("cp862", "CP862"),
	BYTES("cp863", "CP863"),
	BYTES("cp864", "CP864"),
	BYTES("cp865", "CP865"),
	BYTES("cp866", "CP866"),
	BYTES("cp869", "CP869"),
	BYTES("macintosh", "MACINTOSH"),
	BYTES("mac", "MACINTOSH"),
	BYTES("mac-roman", "MACINTOSH"),
	BYTES("macroman", "MACINTOSH"),
	BYTES("mac-cyrillic", "MAC-CYRILLIC"),
	BYTES("mac-ukrainian", "MAC-UK"),
	BYTES("mac-ce", "MAC-CENTRALEUROPE"),
	MULTI("gb2312", "GB18030"),
	MULTI("gb2312-80", "GB18030"),
	MULTI("gb-2312-80", "GB18030"),
	MULTI("gbk", "GB18030"),
	MULTI("gb18030", "GB18030"),
	MULTI("gb-18030", "GB18030"),
	MULTI("euc-cn", "GB18030"),
	MULTI("cn-gb", "GB18030"),
	MULTI("chinese", "GB18030"),
	MULTI("cp936", "GB18030"),
	MULTI("cp54936", "GB18030"),
	MULTI("ms936", "GB18030"),
	MULTI("big5", "BIG5-HKSCS"),
	MULTI("big-5", "BIG5-HKSCS"),
	MULTI("big5-hkscs", "BIG5-HKSCS"),
	MULTI("big5hkscs", "BIG5-HKSCS"),
	MULTI("big5-eten", "BIG5-HKSCS"),
	MULTI("cn-big5", "BIG5-HKSCS"),
	MULTI("cp950", "BIG5-HKSCS"),
	MULTI("euc-tw", "EUC-TW"),
	MULTI("ks-c-5601-1987", "CP949"),
	MULTI("ks-c-5601-1989", "CP949"),
	MULTI("ks-c-5601", "CP949"),
	MULTI("ksc5601", "CP949"),
	MULTI("ksc-5601", "CP949"),
	MULTI("iso-ir-149", "CP949"),
	MULTI("korean", "CP949"),
	MULTI("euc-kr", "CP949"),
	MULTI("euckr", "CP949"),
	MULTI("cp949", "CP949"),
	MULTI("uhc", "CP949"),
	MULTI("johab", "JOHAB"),
	UNITS("iso-2022-kr", "ISO-2022-KR", 1),
	UNITS("iso-2022-cn", "ISO-2022-CN", 1),
	MULTI("shift-jis", "CP932"),
	MULTI("shiftjis", "CP932"),
	MULTI("shift-jis-2004", "SHIFT_JISX0213"),
	MULTI("sjis", "CP932"),
	MULTI("ms-kanji", "CP932"),
	MULTI("ms932", "CP932"),
	MULTI("cp31j", "CP932"),
	MULTI("cp932", "CP932"),
	MULTI("cp943", "CP932"),
	MULTI("euc-jp", "EUC-JP-MS"),
	MULTI("eucjp", "EUC-JP-MS"),
	MULTI("eucjp-ms", "EUC-JP-MS"),
	MULTI("ujis", "EUC-JP-MS"),
	MULTI("cp51932", "EUC-JP-MS"),
	{"iso-2022-jp", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"iso-2022-jp-1", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"iso-2022-jp-2", MAIL_CHARSET_ICONV, "ISO-2022-JP-2", 1, false, false},
	{"iso-2022-jp-3", MAIL_CHARSET_ICONV, "ISO-2022-JP-3", 1, false, false},
	{"iso-2022-jp-ms", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"iso2022jp", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"cp50220", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"cp50221", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"cp50222", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"jis", MAIL_CHARSET_ISO_2022_JP, NULL, 1, true, false},
	{"utf-7", MAIL_CHARSET_UTF7, NULL, 1, false, false},
	{"utf7", MAIL_CHARSET_UTF7, NULL, 1, false, false},
	{"unicode-1-1-utf-7", MAIL_CHARSET_UTF7, NULL, 1, false, false},
	{"unicode-2-0-utf-7", MAIL_CHARSET_UTF7, NULL, 1, false, false},
	{"cp65000", MAIL_CHARSET_UTF7, NULL, 1, false, false},
	{"utf-16", MAIL_CHARSET_UTF16, NULL, 2, false, false},
	{"utf16", MAIL_CHARSET_UTF16, NULL, 2, false, false},
	{"unicode", MAIL_CHARSET_UTF16, NULL, 2, false, false},
	{"ucs-2", MAIL_CHARSET_UTF16, NULL, 2, false, false},
	{"iso-10646-ucs-2", MAIL_CHARSET_UTF16, NULL, 2, false, false},
	UNITS("utf-16le", "UTF-16LE", 2),
	UNITS("utf-16be", "UTF-16BE", 2),
	UNITS("ucs-2le", "UTF-16LE", 2),
	UNITS("ucs-2be", "UTF-16BE", 2),
	{"utf-32", MAIL_CHARSET_UTF32, NULL, 4, false, false},
	{"utf32", MAIL_CHARSET_UTF32, NULL, 4, false, false},
	{"ucs-4", MAIL_CHARSET_UTF32, NULL, 4, false, false},
	{"iso-10646-ucs-4", MAIL_CHARSET_UTF32, NULL, 4, false, false},
	UNITS("utf-32le", "UTF-32LE", 4),
	UNITS("utf-32be", "UTF-32BE", 4),
};

static struct span without_prefix(struct span s, const char *prefix)
{
	return span_starts_with(s, prefix) ? span_from(s, strlen(prefix)) : s;
}

/* Lower case, "_" as "-", without quotes and blanks, cut where a parameter or a
 * year begins. False if it is too long to be a name. */
static bool normalize(struct span name, char text[NAME_MAX_LEN + 1])
{
	size_t len = 0;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (c == '"' || c == '\'' || c == '<' || c == '>' || (c & ~0x20) == 0) {
			continue;
		}
		if (c == ';' || c == ',' || c == ':' || c == '*' || c == '(') {
			break;
		}
		if (len == NAME_MAX_LEN) {
			return false;
		}
		text[len++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '_' ? '-' : c;
	}
	text[len] = '\0';
	return true;
}

static const struct mail_charset_name *lookup(struct span name)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (span_equal_text(name, names[i].alias)) {
			return &names[i];
		}
	}
	return NULL;
}

const struct mail_charset_name *mail_charset_find(struct span name)
{
	static const char *const to_cp[] = {"windows-", "windows", "win-", "win", "ibm-", "ibm", "cp-", "cp"};
	static const char *const to_iso[] = {"iso-8859-", "iso8859-", "iso8859", "iso-8859", "8859-"};
	char text[NAME_MAX_LEN + 1];
	char family[NAME_MAX_LEN + 16];

	if (!normalize(name, text)) {
		return NULL;
	}
	struct span key = without_prefix(span_of(text), "x-");
	const struct mail_charset_name *found = lookup(key);
	if (!found) {
		found = lookup(without_prefix(key, "cs"));
	}
	for (size_t i = 0; !found && i < sizeof to_cp / sizeof to_cp[0]; i++) {
		if (span_starts_with(key, to_cp[i])) {
			struct span number = span_from(key, strlen(to_cp[i]));
			memcpy(family, "cp", 2);
			memcpy(family + 2, number.ptr, number.len);
			found = lookup(span_make(family, number.len + 2));
		}
	}
	for (size_t i = 0; !found && i < sizeof to_iso / sizeof to_iso[0]; i++) {
		if (span_starts_with(key, to_iso[i])) {
			struct span number = span_from(key, strlen(to_iso[i]));
			memcpy(family, "iso-8859-", 9);
			memcpy(family + 9, number.ptr, number.len);
			found = lookup(span_make(family, number.len + 9));
		}
	}
	return found;
}
