/*
 * activity.h
 *		Whether the house may act here and now: call models, refresh views, do jobs.
 *
 * It may where factory.enabled is on and where factory.activation says that this
 * database of this server is meant: so a restored dump, a copied database and a
 * clone of the server rest until somebody calls factory.activate().  Whatever acts
 * on its own or spends money asks here first.
 */
#ifndef FACTORY_ACTIVITY_H
#define FACTORY_ACTIVITY_H

/*
 * False with the reason, one phrase such as "factory.enabled is off".  Cheap: the
 * answer is kept until a setting or a table changes.  Needs a transaction.
 */
extern bool house_may_act(const char **reason);

/* The same for background workers, which can also be paused. */
extern bool house_may_work(const char **reason);

/* One sentence: what to do about what the last of the two has said. */
extern const char *house_rest_hint(void);

/* Whether factory.enabled is on; needs no transaction. */
extern bool house_is_enabled(void);

extern void activity_define_settings(void);

#endif /* FACTORY_ACTIVITY_H */
