#include "api/role.h"

#include <stdlib.h>

#include "base/utf8.h"

#define MAX_NAME ((size_t)1024)

enum { ROLE_INBOX, ROLE_SENT, ROLE_DRAFTS, ROLE_TRASH, ROLE_JUNK, ROLE_ARCHIVE, ROLE_FLAGGED, ROLE_ALL, N_ROLES };

_Static_assert(N_ROLES == API_N_ROLES, "struct api_role_config has one name for each");

#define MAX_ALIASES 64
#define NO_MAILBOX SIZE_MAX

/* Leaf names as mail programs and servers write them, folded by fold(). */
static const struct {
	const char *role;
	unsigned attribute; /* enum imap_mailbox_attribute */
	const char *aliases[MAX_ALIASES];
} roles[N_ROLES] = {
	[ROLE_INBOX] = {"inbox", 0, {NULL}},
	[ROLE_SENT] = {"sent",
		       IMAP_MAILBOX_SENT,
		       {"sent",
			"sent mail",
			"sent items",
			"sent messages",
			"sent-mail",
			"sentmail",
			"sentitems",
			"gesendet",
			"gesendete objekte",
			"gesendete elemente",
			"gesendete nachrichten",
			"envoyés",
			"éléments envoyés",
			"messages envoyés",
			"courrier envoyé",
			"enviados",
			"elementos enviados",
			"mensajes enviados",
			"correo enviado",
			"posta inviata",
			"inviati",
			"inviata",
			"messaggi inviati",
			"enviadas",
			"itens enviados",
			"mensagens enviadas",
			"verzonden",
			"verzonden items",
			"verzonden berichten",
			"skickat",
			"skickade",
			"sendt",
			"sendte",
			"lähetetyt",
			"wysłane",
			"odeslané",
			"elküldött",
			"gönderilmiş öğeler",
			"отправленные",
			"надіслані",
			"送信済み",
			"已发送",
			"寄件備份"}},
	[ROLE_DRAFTS] = {"drafts",
			 IMAP_MAILBOX_DRAFTS,
			 {"drafts",   "draft",    "entwürfe",  "brouillons",  "brouillon", "borradores",
			  "borrador", "bozze",    "bozza",     "rascunhos",   "rascunho",  "concepten",
			  "utkast",   "kladder",  "kladde",    "luonnokset",  "robocze",   "kopie robocze",
			  "szkice",   "koncepty", "rozepsané", "piszkozatok", "taslaklar", "черновики",
			  "чернетки", "πρόχειρα", "下書き",    "草稿",        "草稿箱",    "임시보관함"}},
	[ROLE_TRASH] = {"trash",
			IMAP_MAILBOX_TRASH,
			{"trash",
			 "deleted",
			 "deleted items",
			 "deleted messages",
			 "bin",
			 "wastebasket",
			 "papierkorb",
			 "gelöscht",
			 "gelöschte elemente",
			 "gelöschte objekte",
			 "gelöschte nachrichten",
			 "corbeille",
			 "éléments supprimés",
			 "messages supprimés",
			 "papelera",
			 "elementos eliminados",
			 "eliminados",
			 "cestino",
			 "posta eliminata",
			 "elementi eliminati",
			 "lixo",
			 "lixeira",
			 "itens excluídos",
			 "itens eliminados",
			 "prullenbak",
			 "prullenmand",
			 "verwijderde items",
			 "papperskorgen",
			 "borttaget",
			 "papirkurv",
			 "papirkurven",
			 "slettet post",
			 "roskakori",
			 "poistetut",
			 "kosz",
			 "elementy usunięte",
			 "koš",
			 "kuka",
			 "çöp kutusu",
			 "корзина",
			 "удаленные",
			 "кошик",
			 "ごみ箱",
			 "已删除",
			 "휴지통"}},
	[ROLE_JUNK] = {"junk",
		       IMAP_MAILBOX_JUNK,
		       {"junk",
			"spam",
			"junk mail",
			"junk e-mail",
			"junk email",
			"bulk mail",
			"bulk",
			"spamverdacht",
			"junk-e-mail",
			"unerwünscht",
			"werbung",
			"courrier indésirable",
			"indésirables",
			"pourriel",
			"correo no deseado",
			"no deseado",
			"posta indesiderata",
			"indesiderata",
			"lixo eletrônico",
			"lixo eletrónico",
			"ongewenste e-mail",
			"ongewenst",
			"ongewenste reclame",
			"skräppost",
			"uønsket e-post",
			"uønsket post",
			"søppelpost",
			"roskaposti",
			"wiadomości-śmieci",
			"niechciane",
			"nevyžádaná pošta",
			"levélszemét",
			"gereksiz",
			"önemsiz",
			"спам",
			"нежелательная почта",
			"ανεπιθύμητα",
			"迷惑メール",
			"垃圾邮件",
			"垃圾郵件",
			"스팸"}},
	[ROLE_ARCHIVE] = {"archive",
			  IMAP_MAILBOX_ARCHIVE,
			  {"archive", "archives", "archived",   "archiv",   "archivio", "archivo",  "arquivo",
			   "archief", "arkiv",    "arkisto",    "archiwum", "archív",   "archívum", "arşiv",
			   "архив",   "архів",    "アーカイブ", "存档",     "归档",     "封存",     "보관"}},
	[ROLE_FLAGGED] = {"flagged",
			  IMAP_MAILBOX_FLAGGED,
			  {"flagged", "starred", "markiert", "suivis", "destacados", "speciali", "com estrela",
			   "met ster", "stjärnmärkt", "oznaczone gwiazdką", "помеченные", "スター付き", "已加星标"}},
	[ROLE_ALL] = {"all",
		      IMAP_MAILBOX_ALL,
		      {"all", "all mail", "alle nachrichten", "tous les messages", "todos", "tutti i messaggi",
		       "todos os e-mails", "alle e-mails", "all e-post", "wszystkie", "вся почта", "すべてのメール",
		       "所有邮件"}},
};

const char *api_role_find(struct span name)
{
	for (size_t i = 0; i < N_ROLES; i++) {
		if (span_equal_text(name, roles[i].role)) {
			return roles[i].role;
		}
	}
	return NULL;
}

unsigned api_role_attribute(const char *role)
{
	for (size_t i = 0; i < N_ROLES; i++) {
		if (strcmp(role, roles[i].role) == 0) {
			return roles[i].attribute;
		}
	}
	return 0;
}

const char *api_role_list(void)
{
	return "@inbox, @sent, @drafts, @trash, @junk, @archive, @flagged and @all";
}

/* ---- configuration ---- */

/* As in a path: 1 to 1024 bytes of UTF-8 without control characters. */
static bool is_mailbox_name(struct span name)
{
	for (struct span rest = name; rest.len > 0;) {
		uint32_t c;
		size_t n = utf8_decode(rest, &c);
		if (n == 0 || c < 0x20 || c == 0x7F) {
			return false;
		}
		rest = span_from(rest, n);
	}
	return name.len > 0 && name.len <= MAX_NAME;
}

enum gp_status api_role_config_add(struct api_role_config *config, struct span text, struct gp_error *error)
{
	ptrdiff_t equals = span_find_char(text, '=');
	struct span word = span_slice(text, 0, equals < 0 ? 0 : (size_t)equals);
	struct span name = span_from(text, equals < 0 ? text.len : (size_t)equals + 1);
	size_t role = ROLE_SENT;

	while (role < N_ROLES && !span_equal_text(word, roles[role].role)) {
		role++;
	}
	if (role == N_ROLES) {
		return gp_error_set(error, GP_INVALID,
				    "write a role and a mailbox's full name, as sent=Sent Items; roles are sent, "
				    "drafts, trash, junk, archive, flagged and all");
	}
	if (!is_mailbox_name(name)) {
		return gp_error_set(error, GP_INVALID,
				    "the mailbox of '%s' must be a name of 1 to %zu bytes in UTF-8, without control "
				    "characters",
				    roles[role].role, MAX_NAME);
	}
	if (span_equal_text_nocase(name, "INBOX")) {
		return gp_error_set(error, GP_INVALID, "INBOX has the role 'inbox' and no other");
	}
	if (!span_is_nil(config->mailboxes[role])) {
		return gp_error_set(error, GP_INVALID, "the role '%s' is given twice", roles[role].role);
	}
	for (size_t i = 0; i < N_ROLES; i++) {
		if (!span_is_nil(config->mailboxes[i]) && span_equal(config->mailboxes[i], name)) {
			return gp_error_set(error, GP_INVALID, "'%.*s' is given two roles, '%s' and '%s'",
					    SPAN_ARGS(span_slice(name, 0, 80)), roles[i].role, roles[role].role);
		}
	}
	config->mailboxes[role] = name;
	return GP_OK;
}

/* ---- names ---- */

/* Simple case folding of the scripts that the names above are written in: Latin-1,
 * Latin Extended-A, Greek and Cyrillic. Composed characters only. */
static uint32_t fold(uint32_t c)
{
	if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) ||
	    (c >= 0x410 && c <= 0x42F)) {
		return c + 32;
	}
	if (c >= 0x400 && c <= 0x40F) {
		return c + 80;
	}
	bool is_even_upper = (c >= 0x100 && c <= 0x137) || (c >= 0x14A && c <= 0x177);
	bool is_odd_upper = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E);
	if ((is_even_upper && c % 2 == 0 && c != 0x130) || (is_odd_upper && c % 2 == 1)) {
		return c + 1;
	}
	return c;
}

static bool is_same_name(struct span name, struct span alias)
{
	while (name.len > 0 && alias.len > 0) {
		uint32_t left, right;
		size_t n_left = utf8_decode(name, &left), n_right = utf8_decode(alias, &right);
		if (n_left == 0 || n_right == 0 || fold(left) != right) {
			return false;
		}
		name = span_from(name, n_left);
		alias = span_from(alias, n_right);
	}
	return name.len == 0 && alias.len == 0;
}

static bool is_inbox(const struct imap_mailbox *mailbox)
{
	return span_equal_text_nocase(mailbox->name, "INBOX");
}

/* The leaf of a name that stands where programs put their special mailboxes: at the
 * top, also of the personal namespace, under INBOX, or under a root in brackets
 * ("[Gmail]"). NIL elsewhere: "Work/Sent" is somebody's own. */
static struct span special_leaf(const struct imap_mailbox *mailbox)
{
	struct span name = mailbox->name;
	ptrdiff_t at = mailbox->delimiter ? span_find_char(name, mailbox->delimiter) : -1;

	if (at < 0) {
		return name;
	}
	if (mailbox->attributes & IMAP_MAILBOX_AT_TOP) {
		while (span_find_char(name, mailbox->delimiter) >= 0) {
			name = span_from(name, (size_t)span_find_char(name, mailbox->delimiter) + 1);
		}
		return name;
	}
	struct span root = span_slice(name, 0, (size_t)at), leaf = span_from(name, (size_t)at + 1);
	bool is_bracketed = root.len > 2 && root.ptr[0] == '[' && root.ptr[root.len - 1] == ']';
	if (span_find_char(leaf, mailbox->delimiter) >= 0 ||
	    (!is_bracketed && !span_equal_text_nocase(root, "INBOX"))) {
		return SPAN_NIL;
	}
	return leaf;
}

/* How well the name fits the role: the place in the list of its names, SIZE_MAX when
 * it is none. Earlier ones are likelier to be what the server's users use. */
static size_t alias_rank(const struct imap_mailbox *mailbox, size_t role)
{
	struct span leaf = special_leaf(mailbox);

	for (size_t i = 0; i < MAX_ALIASES && roles[role].aliases[i] && leaf.len > 0; i++) {
		if (is_same_name(leaf, span_of(roles[role].aliases[i]))) {
			return i;
		}
	}
	return SIZE_MAX;
}

/* ---- who has what ---- */

struct winners {
	size_t mailbox[N_ROLES];     /* an index, or NO_MAILBOX */
	const char *source[N_ROLES]; /* static */
};

static bool is_taken(const struct winners *winners, size_t mailbox)
{
	for (size_t role = 0; role < N_ROLES; role++) {
		if (winners->mailbox[role] == mailbox) {
			return true;
		}
	}
	return false;
}

static bool can_have_role(const struct imap_mailbox *mailbox)
{
	return (mailbox->attributes & IMAP_MAILBOX_NOSELECT) == 0;
}

static bool is_configured(const struct api_role_config *config, size_t role, const struct imap_mailbox *mailbox)
{
	return config && !span_is_nil(config->mailboxes[role]) && span_equal(mailbox->name, config->mailboxes[role]);
}

/* The rank of the best is 0; SIZE_MAX: not at all. */
typedef size_t (*rank_fn)(const struct api_role_config *config, const struct imap_mailbox *mailbox, size_t role);

static size_t rank_by_config(const struct api_role_config *config, const struct imap_mailbox *mailbox, size_t role)
{
	return is_configured(config, role, mailbox) ? 0 : SIZE_MAX;
}

static size_t rank_by_server(const struct api_role_config *config, const struct imap_mailbox *mailbox, size_t role)
{
	(void)config;
	return mailbox->attributes & roles[role].attribute ? 0 : SIZE_MAX;
}

static size_t rank_by_name(const struct api_role_config *config, const struct imap_mailbox *mailbox, size_t role)
{
	(void)config;
	return alias_rank(mailbox, role);
}

/* Roles that are still open go to the mailboxes that rank best by this source. */
static void add_winners(const struct api_role_config *config, const struct imap_mailbox *mailboxes, size_t n_mailboxes,
			rank_fn rank_of, const char *source, struct winners *winners)
{
	for (size_t role = 0; role < N_ROLES; role++) {
		size_t best_rank = SIZE_MAX;
		if (winners->mailbox[role] != NO_MAILBOX) {
			continue;
		}
		for (size_t i = 0; i < n_mailboxes && best_rank > 0; i++) {
			size_t rank = can_have_role(&mailboxes[i]) ? rank_of(config, &mailboxes[i], role) : SIZE_MAX;
			if (rank < best_rank && !is_taken(winners, i)) {
				best_rank = rank;
				winners->mailbox[role] = i;
				winners->source[role] = source;
			}
		}
	}
}

static void find_winners(const struct api_role_config *config, const struct imap_mailbox *mailboxes, size_t n_mailboxes,
			 struct winners *winners)
{
	for (size_t role = 0; role < N_ROLES; role++) {
		winners->mailbox[role] = NO_MAILBOX;
		winners->source[role] = NULL;
	}
	for (size_t i = 0; i < n_mailboxes && winners->mailbox[ROLE_INBOX] == NO_MAILBOX; i++) {
		if (is_inbox(&mailboxes[i])) {
			winners->mailbox[ROLE_INBOX] = i;
			winners->source[ROLE_INBOX] = "server";
		}
	}
	add_winners(config, mailboxes, n_mailboxes, rank_by_config, "config", winners);
	add_winners(config, mailboxes, n_mailboxes, rank_by_server, "server", winners);
	add_winners(config, mailboxes, n_mailboxes, rank_by_name, "name", winners);
}

void api_roles_assign(const struct api_role_config *config, const struct imap_mailbox *mailboxes, size_t n_mailboxes,
		      struct api_role *roles_out)
{
	struct winners winners;

	find_winners(config, mailboxes, n_mailboxes, &winners);
	for (size_t i = 0; i < n_mailboxes; i++) {
		roles_out[i] = (struct api_role){NULL, NULL};
	}
	for (size_t role = 0; role < N_ROLES; role++) {
		if (winners.mailbox[role] != NO_MAILBOX) {
			roles_out[winners.mailbox[role]] = (struct api_role){roles[role].role, winners.source[role]};
		}
	}
}

bool api_role_is_candidate(const struct api_role_config *config, const struct imap_mailbox *mailbox)
{
	if (is_inbox(mailbox)) {
		return true;
	}
	for (size_t role = 0; role < N_ROLES; role++) {
		if ((mailbox->attributes & roles[role].attribute) != 0 || alias_rank(mailbox, role) != SIZE_MAX ||
		    is_configured(config, role, mailbox)) {
			return true;
		}
	}
	return false;
}

const struct imap_mailbox *api_role_mailbox(const struct api_role_config *config, const char *role,
					    const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct winners winners;

	find_winners(config, mailboxes, n_mailboxes, &winners);
	for (size_t i = 0; i < N_ROLES; i++) {
		if (strcmp(roles[i].role, role) == 0 && winners.mailbox[i] != NO_MAILBOX) {
			return &mailboxes[winners.mailbox[i]];
		}
	}
	return NULL;
}
