package tracbus

// tracRealms are the realms of a journal that is opened without any.
func tracRealms() []JournalRealm { return []JournalRealm{TracTickets{}, TracWiki{}} }
